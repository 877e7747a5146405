"""Triplet: a clip is nearer to another view of itself than to a selected other clip, by a margin.

Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering,
CVPR 2015. On unlabelled video: Wang, Gupta, Unsupervised Learning of Visual Representations using
Videos, ICCV 2015.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import PositiveFloat
from evossl.losses.distance import l2_normalise
from evossl.losses.triplet import hardest_negative, semi_hard_negative, triplet_margin_loss
from evossl.models.heads.mlp import projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

PROJECTION_DIM = 128
NEGATIVE_MINERS = {"hardest": hardest_negative, "semi_hard": semi_hard_negative}


class Triplet(Task):
    """Triplet margin loss on unit-length projections of two views.

    Args:
        place: one stream.
        margin: in squared distance, which is about 2 between independent points.
        negatives: "hardest" selects the nearest other clip; "semi_hard" the nearest of those that
            are farther than the positive.

    Raises:
        ValueError: another value of `negatives`.
    """

    places = each(*Stream)

    def __init__(
        self, place: Place, margin: PositiveFloat = 0.2, negatives: str = "semi_hard"
    ) -> None:
        super().__init__(place)
        if negatives not in NEGATIVE_MINERS:
            known = " or ".join(NEGATIVE_MINERS)
            raise ValueError(f"negatives must be {known}, got {negatives!r}")
        self.margin = margin
        self.select_negative = NEGATIVE_MINERS[negatives]
        self.projector = projection_head(place.width, PROJECTION_DIM)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, batch: TaskBatch) -> Tensor:
        x_BD, y_BD = (l2_normalise(self.projector(x)) for x in batch.embeddings("0", "1"))
        return triplet_margin_loss(x_BD, y_BD, self.margin, self.select_negative)
