"""DINO: an encoder's clusters of every view follow its moving average's of the whole views.

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

On every stream; sound has no small crops.

Should learn: motion.
"""

from evossl.families import SelfDistilled
from evossl.io.task_options import Classes, Positive, Share
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import NumCrops, local_crops, momentum_views, strong_clips


class DINO(SelfDistilled):
    """The student sees two whole views and small crops, the teacher the whole views.

    Args:
        place: one stream.
        clusters: outputs of the heads.
        local: small crops.
        temperature: of the teacher, after the warm-up. At the papers' 0.04 to 0.07 a short training
            of a small encoder stays at the uniform (measured).
        warmup: share of the training over which it rises from 0.04, where it is above that.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        clusters: Classes = 256,
        local: NumCrops = 4,
        temperature: Positive = 0.02,
        warmup: Share = 0.1,
    ) -> None:
        whole = strong_clips(place.stream, rho=2)
        student = whole | local_crops(place.stream, place.shape.input, local)
        teacher = momentum_views(whole, prefix="teacher")
        super().__init__(place, student, teacher, clusters, temperature, warmup)
