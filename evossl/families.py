"""Families of tasks: methods that share heads and state, and differ in the views they take."""

from collections.abc import Mapping

from torch import Tensor

from evossl.encoders.bootstrap import Bootstrap
from evossl.encoders.self_distillation import SelfDistillation
from evossl.task import Place, Seen, Task
from evossl.views.recipes import seen_slowly
from evossl.views.spec import View


class Bootstrapped(Task):
    """BYOL's family: each view predicts what the moving averages make of each other one.

    Args:
        place: one stream.
        clips: the views, as the student sees them.
    """

    def __init__(self, place: Place, clips: Mapping[str, View]) -> None:
        super().__init__(place)
        self.clips = dict(clips)
        self.slow = seen_slowly(clips)
        self.bootstrap = Bootstrap(place.width)
        self.bootstrap.target = self.momentum(self.bootstrap.project)

    def views(self) -> dict[str, View]:
        """The clips, to the student and to its moving average."""
        return self.clips | self.slow

    def loss(self, seen: Seen) -> Tensor:
        """Over all ordered pairs of views."""
        return self.bootstrap.loss(seen.embeddings(*self.clips), seen.embeddings(*self.slow))


class SelfDistilled(Task):
    """DINO's family: the student's clusters of its views follow the teacher's of the teacher's.

    Args:
        place: one stream.
        student, teacher: the views of each; the teacher's by the momentum encoder.
        clusters: outputs of the heads.
        temperature: of the teacher, after the warm-up.
        warmup: share of the training over which it rises.
        matched_GV: which of the student's views follow which of the teacher's; None: all others.
    """

    def __init__(
        self,
        place: Place,
        student: Mapping[str, View],
        teacher: Mapping[str, View],
        clusters: int,
        temperature: float,
        warmup: float,
        matched_GV: Tensor | None = None,
    ) -> None:
        super().__init__(place)
        self.student, self.teacher = dict(student), dict(teacher)
        self.matched_GV = matched_GV
        self.distil = SelfDistillation(place.width, clusters, temperature, warmup)
        self.distil.teacher = self.momentum(self.distil.student)

    def views(self) -> dict[str, View]:
        """The student's and the teacher's."""
        return self.student | self.teacher

    def loss(self, seen: Seen) -> Tensor:
        """Over the views that are matched."""
        student, taught = seen.embeddings(*self.student), seen.embeddings(*self.teacher)
        return self.distil.loss(student, taught, seen.progress, self.matched_GV)

    def after_backward(self, progress: float) -> None:
        """Hold the last layer while the training is young."""
        self.distil.last.hold(progress)

    def after_step(self, seen: Seen) -> None:
        """Move the centre."""
        self.distil.update(seen.embeddings(*self.teacher))
