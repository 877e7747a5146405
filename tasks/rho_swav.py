"""Rho-SwAV: SwAV over several clips of a video.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021. After Caron et al., Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

On every stream.

Should learn: motion.
"""

from evossl.families import SwappedClusters
from evossl.io.task_options import Classes, CountOrNone, Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import Rho, strong_clips


class RhoSwAV(SwappedClusters):
    """Each clip predicts the clusters of each other one of its video.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 is two views of one clip.
        prototypes: clusters.
        epsilon: smoothness of the codes. At the papers' 0.05 the codes of a small batch are nearly
            uniform, and predicting just that is where a training then stays (measured).
        queue: videos of earlier batches among which clusters are shared out; 0 is none.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        rho: Rho = 2,
        prototypes: Classes = 256,
        epsilon: Positive = 0.02,
        queue: CountOrNone = 0,
    ) -> None:
        clips = strong_clips(place.stream, rho)
        super().__init__(place, clips, {}, prototypes, epsilon, queue)
