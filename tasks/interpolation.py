"""Interpolation: the frames in the middle, from those before and after them.

Long, Kneip, Alvarez, Li, Zhang, Yu, Learning Image Matching by Simply Watching Video, ECCV 2016.

On RGB, grayscale and flow. Not on sound, whose length in frames is not known here.

Should learn: motion.
"""

from torch import Tensor

from evossl.losses.distance import squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, Time, View


class Interpolation(Task):
    """Mean squared error of the T/2 frames that are left out in the middle of the T shown."""

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        channels, self.num_shown, height, width = place.shape.input
        self.num_between = max(1, self.num_shown // 2)
        missing = (channels, self.num_between, height, width)
        self.decoder = ClipDecoder(place.shape.last_map, missing)

    def views(self) -> dict[str, View]:
        window, before = self.num_shown + self.num_between, (self.num_shown + 1) // 2
        ends = Time(window=window, hole=self.num_between)
        between = Time(frames=self.num_between, offset=before, window=window)
        return {
            "ends": View(self.place.stream, time=ends, space=WEAK),
            "between": View(self.place.stream, time=between, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        return squared_error(self.decoder(seen["ends"].last_map), seen["between"].pixels)
