"""Reconstruction: decode an encoder's input from its last map.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020) applies it to every modality, and so do we: RGB, grayscale, flow and log-mel audio. After
Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 2006.

Expected to learn: appearance.
"""

from torch import Tensor

from evossl.losses.distance import mean_squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, View


class Reconstruction(Task):
    """Mean squared error in normalised pixels; the target is the encoder's own input."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.decoder = ClipDecoder(place.shape.last_map, place.shape.input)

    def views(self) -> dict[str, View]:
        return {"clip": View(self.place.stream, space=WEAK)}

    def loss(self, batch: TaskBatch) -> Tensor:
        clip = batch["clip"]
        return mean_squared_error(self.decoder(clip.last_map), clip.pixels)
