"""DINO: an encoder's clusters of every view follow its moving average's of the whole views.

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

On every stream; sound has no small crops.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.self_distillation import SelfDistillation
from evossl.options import Classes, Positive, Share
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import NumCrops, clips_of_a_video, local_crops, seen_slowly
from evossl.views.spec import View


class Dino(Task):
    """The student sees two whole views and small crops, the teacher the whole views.

    Args:
        place: one stream.
        clusters: outputs of the heads.
        local: small crops.
        temperature: of the teacher, after the warm-up.
        warmup: share of the training over which it rises.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        clusters: Classes = 256,
        local: NumCrops = 4,
        temperature: Positive = 0.07,
        warmup: Share = 0.1,
    ) -> None:
        super().__init__(place)
        stream, shape = place.stream, place.shape.input
        whole = clips_of_a_video(stream, rho=2)
        self.student = whole | local_crops(stream, shape, local)
        self.teacher = seen_slowly(whole, prefix="teacher")
        self.distil = SelfDistillation(place.width, clusters, temperature, warmup)
        self.distil.teacher = self.momentum(self.distil.student)

    def views(self) -> dict[str, View]:
        return self.student | self.teacher

    def loss(self, seen: Seen) -> Tensor:
        student, taught = seen.embeddings(*self.student), seen.embeddings(*self.teacher)
        return self.distil.loss(student, taught, seen.progress)

    def after_backward(self, progress: float) -> None:
        self.distil.last.hold(progress)

    def after_step(self, seen: Seen) -> None:
        self.distil.update(seen.embeddings(*self.teacher))
