"""SwAV: the clusters of one view of a clip are predicted from its other views.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

On every stream; sound has no small crops.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.swapped_prediction import SwappedPrediction
from evossl.options import Classes, CountOrNone, Positive
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import NumCrops, clips_of_a_video, local_crops
from evossl.views.spec import View


class SwaV(Task):
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
        super().__init__(place)
        stream, shape = place.stream, place.shape.input
        self.whole = clips_of_a_video(stream, rho=2)
        self.local = local_crops(stream, shape, local)
        self.swap = SwappedPrediction(place.width, len(self.whole), prototypes, epsilon, queue)

    def views(self) -> dict[str, View]:
        return self.whole | self.local

    def before_forward(self, progress: float) -> None:
        self.swap.prototypes.normalise()

    def loss(self, seen: Seen) -> Tensor:
        return self.swap.loss(seen.embeddings(*self.whole), seen.embeddings(*self.local))

    def after_backward(self, progress: float) -> None:
        self.swap.prototypes.hold(progress)

    def after_step(self, seen: Seen) -> None:
        self.swap.remember(seen.embeddings(*self.whole), seen.video_id_B)
