"""Barlow Twins: features of two views correlate with themselves and with no other feature.

Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via Redundancy Reduction,
ICML 2021.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NotNegative
from evossl.losses.redundancy import barlow_twins_loss
from evossl.models.heads.mlp import Expansion, expander
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View


class BarlowTwins(Task):
    """The cross-correlation of two draws' projections is to be the identity.

    Args:
        place: one stream.
        redundancy: weight of what is not on the diagonal (the paper's lambda).
        expansion: of the projections, in the embedding's width.
    """

    places = each(*Stream)

    def __init__(
        self, place: Place, redundancy: NotNegative = 0.005, expansion: Expansion = 1
    ) -> None:
        super().__init__(place)
        self.redundancy = redundancy
        self.project = expander(place.width, expansion)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, seen: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.project, seen.embeddings("0", "1"))
        return barlow_twins_loss(x_BD, y_BD, self.redundancy)
