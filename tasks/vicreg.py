"""VICReg: two views agree, every feature varies over the batch, and features do not covary.

Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning, ICLR 2022.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NonNegativeFloat
from evossl.losses.redundancy import vicreg_loss
from evossl.models.heads.mlp import ExpansionFactor, expander
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View


class VICReg(Task):
    """The weighted sum of three terms on the projections of two views.

    Args:
        place: one stream.
        invariance: weight of the distance between the views.
        variance: weight of the hinge that keeps each feature's standard deviation at 1 or more.
        covariance: weight of the covariances between features.
        expansion: width of the projections, in multiples of the embedding's width.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        expansion: ExpansionFactor = 1,
    ) -> None:
        super().__init__(place)
        self.weights = (invariance, variance, covariance)
        self.projector = expander(place.width, expansion)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, batch: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.projector, batch.embeddings("0", "1"))
        return vicreg_loss(x_BD, y_BD, *self.weights)
