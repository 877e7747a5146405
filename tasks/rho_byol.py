"""Rho-BYOL: BYOL over several clips of a video.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021. After Grill et al., Bootstrap Your Own Latent, NeurIPS 2020.

On every stream.

Should learn: motion.
"""

from evossl.families import Bootstrapped
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import Rho, strong_clips


class RhoBYOL(Bootstrapped):
    """Each clip predicts each other one of its video; averaged over all ordered pairs.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 is two views of one clip.
    """

    places = each(*Stream)

    def __init__(self, place: Place, rho: Rho = 2) -> None:
        super().__init__(place, strong_clips(place.stream, rho))
