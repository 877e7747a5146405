"""SimCLR: two strong views of one clip among those of all other clips.

Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020. For video: Qian et al., Spatiotemporal Contrastive Video Representation
Learning, CVPR 2021, whose temperature of 0.1 is the default.

On every stream.

Should learn: motion.
"""

from evossl.families import Contrasted
from evossl.io.task_options import Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips


class SimCLR(Contrasted):
    """NT-Xent over the 2B projections of two draws.

    Args:
        place: one stream.
        temperature: of the cosines.
    """

    places = each(*Stream)

    def __init__(self, place: Place, temperature: Positive = 0.1) -> None:
        super().__init__(place, strong_clips(place.stream, rho=2), 1, temperature)
