"""SwAV: the clusters of one view of a clip are predicted from its other views.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

On every stream; sound has no small crops.

Should learn: motion.
"""

from evossl.families import SwappedClusters
from evossl.io.task_options import Classes, CountOrNone, Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import NumCrops, local_crops, strong_clips


class SwAV(SwappedClusters):
    """Two whole views, whose clusters all other views predict, and small crops, which only predict.

    Args:
        place: one stream.
        prototypes: clusters.
        local: small crops.
        epsilon: smoothness of the codes. At the papers' 0.05 the codes of a small batch are nearly
            uniform, and predicting just that is where a training then stays (measured).
        queue: clips of earlier batches among which clusters are shared out; 0 is none.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        prototypes: Classes = 256,
        local: NumCrops = 4,
        epsilon: Positive = 0.02,
        queue: CountOrNone = 0,
    ) -> None:
        whole = strong_clips(place.stream, rho=2)
        crops = local_crops(place.stream, place.shape.input, local)
        super().__init__(place, whole, crops, prototypes, epsilon, queue)
