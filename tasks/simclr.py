"""SimCLR: two strong views of one clip among those of all other clips.

Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020. For video: Qian et al., Spatiotemporal Contrastive Video Representation
Learning, CVPR 2021, whose temperature of 0.1 is the default.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.heads import mlp
from evossl.losses.contrastive import nt_xent
from evossl.options import Positive
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import clips_of_a_video
from evossl.views.spec import View

PROJECTED = 128


class SimCLR(Task):
    """NT-Xent over the 2B projections of two draws.

    Args:
        place: one stream.
        temperature: of the cosines.
    """

    places = each(*Stream)

    def __init__(self, place: Place, temperature: Positive = 0.1) -> None:
        super().__init__(place)
        self.temperature = temperature
        self.project = mlp([place.width, place.width, PROJECTED])

    def views(self) -> dict[str, View]:
        return clips_of_a_video(self.place.stream, rho=2)

    def loss(self, seen: Seen) -> Tensor:
        x_BD, y_BD = map(self.project, seen.embeddings("0", "1"))
        return nt_xent(x_BD, y_BD, self.temperature)
