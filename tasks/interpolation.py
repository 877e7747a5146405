"""Interpolation: decode the middle frames of a clip from the frames before and after them.

Long, Kneip, Alvarez, Li, Zhang, Yu, Learning Image Matching by Simply Watching Video, ECCV 2016.

On RGB, grayscale and flow. Not on audio, whose length in video frames is not known here.

Expected to learn: motion.
"""

from torch import Tensor

from evossl.losses.distance import mean_squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, Time, View


class Interpolation(Task):
    """Mean squared error of the T/2 frames that are left out of the middle of the encoder's T."""

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        channels, self.num_input, height, width = place.shape.input
        self.num_middle = max(1, self.num_input // 2)
        middle_shape = (channels, self.num_middle, height, width)
        self.decoder = ClipDecoder(place.shape.last_map, middle_shape)

    def views(self) -> dict[str, View]:
        window, num_before = self.num_input + self.num_middle, (self.num_input + 1) // 2
        surrounding = Time(window=window, hole=self.num_middle)
        middle = Time(frames=self.num_middle, offset=num_before, window=window)
        return {
            "surrounding": View(self.place.stream, time=surrounding, space=WEAK),
            "middle": View(self.place.stream, time=middle, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        predicted_BCTHW = self.decoder(batch["surrounding"].last_map)
        return mean_squared_error(predicted_BCTHW, batch["middle"].pixels)
