"""Families of tasks: methods that share heads and state, and differ in the views they take."""

from collections.abc import Mapping

import torch
from torch import Tensor

from evossl.losses.contrastive import nt_xent_of_views
from evossl.models.heads.bootstrap import Bootstrap
from evossl.models.heads.mlp import mlp
from evossl.models.heads.momentum_contrast import MomentumContrast
from evossl.models.heads.self_distillation import SelfDistillation
from evossl.models.heads.swapped_prediction import SwappedPrediction
from evossl.task import Place, Task, TaskBatch
from evossl.views.recipes import momentum_views
from evossl.views.spec import View

PROJECTED = 128  # of SimCLR's family


class Contrasted(Task):
    """SimCLR's family: each view finds each other one of its clip among all those of a batch.

    Args:
        place: one stream.
        clips: the views.
        hidden: layers between the embedding and the projection.
        temperature: of the cosines.
    """

    def __init__(
        self, place: Place, clips: Mapping[str, View], hidden: int, temperature: float
    ) -> None:
        super().__init__(place)
        self.clips = dict(clips)
        self.temperature = temperature
        self.project = mlp([place.width] * (1 + hidden) + [PROJECTED])

    def views(self) -> dict[str, View]:
        """All of them, to the student."""
        return self.clips

    def loss(self, seen: TaskBatch) -> Tensor:
        """Over all ordered pairs of views."""
        projected = [self.project(x_BD) for x_BD in seen.embeddings(*self.clips)]
        return nt_xent_of_views(torch.stack(projected), self.temperature)


class Bootstrapped(Task):
    """BYOL's family: each view predicts what the moving averages make of each other one.

    Args:
        place: one stream.
        clips: the views, as the student sees them.
    """

    def __init__(self, place: Place, clips: Mapping[str, View]) -> None:
        super().__init__(place)
        self.clips = dict(clips)
        self.slow = momentum_views(clips)
        self.bootstrap = Bootstrap(place.width)
        self.bootstrap.target = self.momentum(self.bootstrap.project)

    def views(self) -> dict[str, View]:
        """The clips, to the student and to its moving average."""
        return self.clips | self.slow

    def loss(self, seen: TaskBatch) -> Tensor:
        """Over all ordered pairs of views."""
        return self.bootstrap.loss(seen.embeddings(*self.clips), seen.embeddings(*self.slow))


class SelfDistilled(Task):
    """DINO's family: the student's clusters of its views follow the teacher's of the teacher's.

    Args:
        place: one stream.
        student, teacher: the views of each; the teacher's by the momentum encoder.
        clusters: outputs of the heads.
        temperature: of the teacher, after the warm-up.
        warmup: share of the training over which it rises from 0.04, where it is above that.
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

    def loss(self, seen: TaskBatch) -> Tensor:
        """Over the views that are matched."""
        student, taught = seen.embeddings(*self.student), seen.embeddings(*self.teacher)
        return self.distil.loss(student, taught, seen.progress, self.matched_GV)

    def after_backward(self, progress: float) -> None:
        """Hold the last layer while the training is young."""
        self.distil.last.hold(progress)

    def after_step(self, seen: TaskBatch) -> None:
        """Move the centre."""
        self.distil.update(seen.embeddings(*self.teacher))


class MomentumContrasted(Task):
    """MoCo's family: each view finds the moving average's of each other one among a queue's keys.

    Args:
        place: one stream.
        clips: the views that ask, as the student sees them.
        keys: the views that answer, by the momentum encoder; "slow 0" is the view "0" itself.
        hidden: layers between the embedding and the projection.
        queue: the most keys it holds.
        temperature: of the cosines.
    """

    def __init__(
        self,
        place: Place,
        clips: Mapping[str, View],
        keys: Mapping[str, View],
        hidden: int,
        queue: int,
        temperature: float,
    ) -> None:
        super().__init__(place)
        self.clips, self.keys = dict(clips), dict(keys)
        self.contrast = MomentumContrast(place.width, hidden, queue, temperature)
        self.contrast.target = self.momentum(self.contrast.project)

    def views(self) -> dict[str, View]:
        """Those that ask and those that answer."""
        return self.clips | self.keys

    def loss(self, seen: TaskBatch) -> Tensor:
        """Over all ordered pairs of different views."""
        asking = {name: seen[name].embedding_BD for name in self.clips}
        return self.contrast.loss(asking, self._answers(seen), seen.video_id_B)

    def after_step(self, seen: TaskBatch) -> None:
        """Put the keys into the queue."""
        self.contrast.update(self._answers(seen), seen.video_id_B)

    def _answers(self, seen: TaskBatch) -> dict[str, Tensor]:
        return {name.removeprefix("slow "): seen[name].embedding_BD for name in self.keys}


class SwappedClusters(Task):
    """SwAV's family: each view predicts the clusters of each other whole one.

    Args:
        place: one stream.
        whole: the views that have clusters.
        local: those that only predict.
        prototypes: clusters.
        epsilon: smoothness of the codes.
        queue: clips of earlier batches among which clusters are shared out; 0 is none.
    """

    def __init__(
        self,
        place: Place,
        whole: Mapping[str, View],
        local: Mapping[str, View],
        prototypes: int,
        epsilon: float,
        queue: int,
    ) -> None:
        super().__init__(place)
        self.whole, self.local = dict(whole), dict(local)
        self.swap = SwappedPrediction(place.width, len(whole), prototypes, epsilon, queue)

    def views(self) -> dict[str, View]:
        """All of them, to the student."""
        return self.whole | self.local

    def before_forward(self, progress: float) -> None:
        """Return the prototypes to the sphere."""
        self.swap.prototypes.normalise()

    def loss(self, seen: TaskBatch) -> Tensor:
        """Over all pairs of a whole view and another one."""
        return self.swap.loss(seen.embeddings(*self.whole), seen.embeddings(*self.local))

    def after_backward(self, progress: float) -> None:
        """Hold the prototypes while the training is young."""
        self.swap.prototypes.hold(progress)

    def after_step(self, seen: TaskBatch) -> None:
        """Put the projections into the queue, if there is one."""
        self.swap.remember(seen.embeddings(*self.whole), seen.video_id_B)
