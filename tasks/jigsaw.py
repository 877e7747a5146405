"""Jigsaw: classify the order of the nine shuffled cells of a clip.

Noroozi, Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles,
ECCV 2016. In a clip, each cell is a tube: one position in all frames.

On RGB and grayscale. Not on flow: where a camera zooms or turns, its motion alone reveals where a
cell was. Gaps between pieces, a random offset of each piece within its cell, equal brightness and a
single channel prevent the other shortcuts.

Expected to learn: appearance.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import PermutationHead
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import puzzle_view
from evossl.views.spec import Cells, View

JIGSAW = Cells(rows=3, columns=3, orders=64)  # any two orders differ in at least 7 positions


class Jigsaw(Task):
    """Cross entropy of the order: cells are encoded separately, and the head compares them."""

    places = each(Stream.RGB, Stream.GRAY)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = PermutationHead(place.width, JIGSAW)

    def views(self) -> dict[str, View]:
        return {"cells": puzzle_view(self.place.stream, JIGSAW)}

    def loss(self, batch: TaskBatch) -> Tensor:
        return self.head.loss(batch["cells"].embedding_BD, batch["cells"].applied)
