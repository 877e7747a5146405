"""Cubic puzzles: classify the spatial order and the temporal order of a clip's pieces.

Kim, Cho, Kweon, Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles,
AAAI 2019: four pieces from different positions or from different times, in one of 24 orders. Here
both puzzles use the same clip, and their losses are averaged.

On RGB and grayscale; not on flow, for the reason given in `jigsaw`. Gaps between pieces, a random
offset of each piece within its cell, equal brightness and a single channel prevent shortcuts.

Expected to learn: appearance, motion.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import PermutationHead
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import TIME_PUZZLE, puzzle_view, time_puzzle_view
from evossl.views.spec import Cells, View

SPACE_PUZZLE = Cells(rows=2, columns=2)


class CubicPuzzles(Task):
    """One permutation head per puzzle; the temporal puzzle is that of `order_multiclass`."""

    places = each(Stream.RGB, Stream.GRAY)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.space_head = PermutationHead(place.width, SPACE_PUZZLE)
        self.time_head = PermutationHead(place.width, TIME_PUZZLE)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        return {
            "space": puzzle_view(stream, SPACE_PUZZLE),
            "time": time_puzzle_view(stream, self.place.shape.input),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        space, time = batch["space"], batch["time"]
        space_loss = self.space_head.loss(space.embedding_BD, space.applied)
        time_loss = self.time_head.loss(time.embedding_BD, time.applied)
        return (space_loss + time_loss) / 2
