"""VICReg: two views agree, each feature varies over the batch, and none says what another does.

Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning, ICLR 2022.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NotNegative
from evossl.losses.redundancy import vicreg
from evossl.models.heads.mlp import Expansion, expander
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View


class VICReg(Task):
    """Three parts on the projections of two draws.

    Args:
        place: one stream.
        invariance: weight of the views' distance.
        variance: weight of keeping each feature's deviation at 1 or more.
        covariance: weight of keeping features from covarying.
        expansion: of the projections, in the embedding's width.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        invariance: NotNegative = 25.0,
        variance: NotNegative = 25.0,
        covariance: NotNegative = 1.0,
        expansion: Expansion = 1,
    ) -> None:
        super().__init__(place)
        self.weights = (invariance, variance, covariance)
        self.project = expander(place.width, expansion)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, seen: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.project, seen.embeddings("0", "1"))
        return vicreg(x_BD, y_BD, *self.weights)
