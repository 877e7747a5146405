"""Cubic puzzles: where in space, and when in time, were the pieces of this clip?

Kim, Cho, Kweon, Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles,
AAAI 2019: four pieces, apart in space or apart in time, and which of their 24 orders they are in.
The two puzzles are of one clip here, and their losses are averaged.

On RGB and grayscale; as in `jigsaw`, not on flow. Gaps, a place of its own in its cell, equal
brightness and one channel close the shortcuts.

Should learn: appearance, motion.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import Arranger
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import SEGMENTS, puzzle, segments_of_time
from evossl.views.spec import Cells, View

QUARTERS = Cells(rows=2, columns=2)


class CubicPuzzles(Task):
    """A head for each puzzle; the one of time is that of `order_multiclass`."""

    places = each(Stream.RGB, Stream.GRAY)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.space = Arranger(place.width, QUARTERS)
        self.time = Arranger(place.width, SEGMENTS)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        return {
            "space": puzzle(stream, QUARTERS),
            "time": segments_of_time(stream, self.place.shape.input),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        space = self.space.loss(seen["space"].embedding_BD, seen["space"].applied)
        time = self.time.loss(seen["time"].embedding_BD, seen["time"].applied)
        return (space + time) / 2
