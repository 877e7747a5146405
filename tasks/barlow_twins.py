"""Barlow Twins: the features of two views correlate with themselves and with no other feature.

Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via Redundancy Reduction,
ICML 2021.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NonNegativeFloat
from evossl.losses.redundancy import barlow_twins_loss
from evossl.models.heads.mlp import ExpansionFactor, expander
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View


class BarlowTwins(Task):
    """Drives the cross-correlation matrix of two views' projections to the identity.

    Args:
        place: one stream.
        redundancy: weight of the off-diagonal elements (the paper's lambda).
        expansion: width of the projections, in multiples of the embedding's width.
    """

    places = each(*Stream)

    def __init__(
        self, place: Place, redundancy: NonNegativeFloat = 0.005, expansion: ExpansionFactor = 1
    ) -> None:
        super().__init__(place)
        self.redundancy = redundancy
        self.projector = expander(place.width, expansion)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, batch: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.projector, batch.embeddings("0", "1"))
        return barlow_twins_loss(x_BD, y_BD, self.redundancy)
