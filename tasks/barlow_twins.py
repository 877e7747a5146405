"""Barlow Twins: features of two views correlate with themselves and with no other feature.

Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via Redundancy Reduction,
ICML 2021.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.heads import Expansion, expander
from evossl.losses.redundancy import cross_correlation
from evossl.options import NotNegative
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import clips_of_a_video
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
        return clips_of_a_video(self.place.stream, rho=2)

    def loss(self, seen: Seen) -> Tensor:
        x_BD, y_BD = map(self.project, seen.embeddings("0", "1"))
        return cross_correlation(x_BD, y_BD, self.redundancy)
