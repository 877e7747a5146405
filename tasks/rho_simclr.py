"""Rho-SimCLR: SimCLR whose positives are several clips of a video.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021. After Chen, Kornblith, Norouzi, Hinton, A Simple Framework for
Contrastive Learning of Visual Representations, ICML 2020.

On every stream.

Should learn: motion.
"""

from evossl.families import Contrasted
from evossl.io.task_options import Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import Rho, strong_clips


class RhoSimCLR(Contrasted):
    """NT-Xent averaged over all ordered pairs of a video's clips.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 is two views of one clip.
        temperature: of the cosines.
    """

    places = each(*Stream)

    def __init__(self, place: Place, rho: Rho = 2, temperature: Positive = 0.1) -> None:
        super().__init__(place, strong_clips(place.stream, rho), 2, temperature)
