"""Triplet: a clip is nearer to another view of itself than to a chosen other clip, by a margin.

Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering,
CVPR 2015. On unlabelled video: Wang, Gupta, Unsupervised Learning of Visual Representations using
Videos, ICCV 2015.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import Positive
from evossl.losses.distance import unit
from evossl.losses.triplet import hardest, semi_hard, triplet
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

PROJECTED = 128
NEGATIVES = {"hardest": hardest, "semi_hard": semi_hard}


class Triplet(Task):
    """Siamese: one encoder and projector for both draws; distances are on the unit sphere.

    Args:
        place: one stream.
        margin: in squared distance, which is 2 between two independent points.
        negatives: "hardest", the nearest other clip; "semi_hard", the nearest of those that are
            further than the positive.
    """

    places = each(*Stream)

    def __init__(self, place: Place, margin: Positive = 0.2, negatives: str = "semi_hard") -> None:
        super().__init__(place)
        if negatives not in NEGATIVES:
            raise ValueError(f"negatives are {' or '.join(NEGATIVES)}, got {negatives!r}")
        self.margin = margin
        self.choose = NEGATIVES[negatives]
        self.project = mlp([place.width, place.width, PROJECTED])

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, seen: TaskBatch) -> Tensor:
        x_BD, y_BD = (unit(self.project(x)) for x in seen.embeddings("0", "1"))
        return triplet(x_BD, y_BD, self.margin, self.choose)
