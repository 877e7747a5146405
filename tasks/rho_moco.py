"""Rho-MoCo: MoCo whose positives are several clips of a video.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021. After He et al., Momentum Contrast, CVPR 2020.

On every stream.

Should learn: motion.
"""

from evossl.families import MomentumContrasted
from evossl.io.task_options import Count, Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import Rho, momentum_views, strong_clips


class RhoMoCo(MomentumContrasted):
    """Each clip finds each other one of its video; averaged over all ordered pairs.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 is two views of one clip.
        temperature: of the cosines.
        queue: the most keys it holds.
    """

    places = each(*Stream)

    def __init__(
        self, place: Place, rho: Rho = 2, temperature: Positive = 0.1, queue: Count = 4096
    ) -> None:
        clips = strong_clips(place.stream, rho)
        super().__init__(place, clips, momentum_views(clips), 2, queue, temperature)
