"""Reconstruction: the input of an encoder from its last stage's map.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020) puts it on every modality, and so do we: RGB, grayscale, flow and log-mel sound. After
Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 2006.

Should learn: appearance.
"""

from torch import Tensor

from evossl.losses.distance import squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, View


class Reconstruction(Task):
    """Mean squared error in normalised pixels: the target is what the encoder was given."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.decoder = ClipDecoder(place.shape.last_map, place.shape.input)

    def views(self) -> dict[str, View]:
        return {"clip": View(self.place.stream, space=WEAK)}

    def loss(self, seen: TaskBatch) -> Tensor:
        clip = seen["clip"]
        return squared_error(self.decoder(clip.last_map), clip.pixels)
