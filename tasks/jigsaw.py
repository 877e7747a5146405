"""Jigsaw: in which order did the nine cells of this clip's frames come?

Noroozi, Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles,
ECCV 2016. On clips each cell is a tube: all frames of one place.

On RGB and grayscale. Not on flow: where a camera zooms or turns, its own motion says where a cell
was. Gaps, a place of its own in its cell, equal brightness and one channel close the rest.

Should learn: appearance.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import Arranger
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import puzzle
from evossl.views.spec import Cells, View

NINE = Cells(rows=3, columns=3, orders=64)  # any two of which differ in 7 places or more


class Jigsaw(Task):
    """Which of the orders: each cell is embedded by itself, the head compares them."""

    places = each(Stream.RGB, Stream.GRAY)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = Arranger(place.width, NINE)

    def views(self) -> dict[str, View]:
        return {"cells": puzzle(self.place.stream, NINE)}

    def loss(self, seen: TaskBatch) -> Tensor:
        return self.head.loss(seen["cells"].embedding_BD, seen["cells"].applied)
