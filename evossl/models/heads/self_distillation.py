"""DINO's heads: a student's clusters follow those of its own moving average, centred and sharp.

Shapes: B clip, D embedding, K cluster, V student's view, G teacher's view.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evossl.losses.clustering import all_others, centred, cross_view
from evossl.models.heads.mlp import mlp
from evossl.models.heads.prototypes import Prototypes, scores_by_view

BOTTLENECK = 256
STUDENT_TEMPERATURE = 0.1
COLDEST = 0.04  # the teacher's temperature at the start
CENTRE_DECAY = 0.9


class SelfDistillation(nn.Module):
    """A student's head, the teacher's that follows it, and the centre of the teacher's scores.

    Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
    Vision Transformers, ICCV 2021. With BatchNorm in the heads, an option there: without it, the
    outputs for the clips of a small network's batch hardly differ, and stay at the uniform.

    Args:
        width: D.
        clusters: K.
        temperature: of the teacher, after it has risen from 0.04; a lower one holds from the start.
        warmup: share of the training over which it rises.

    Attributes:
        teacher: set by the task to `momentum(student)`, which makes it follow.
    """

    def __init__(self, width: int, clusters: int, temperature: float, warmup: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.warmup = warmup
        self.last = Prototypes(BOTTLENECK, clusters)
        hidden = mlp([width, width, width, BOTTLENECK])
        self.student = nn.Sequential(hidden, self.last)
        self.teacher: nn.Module
        self.centre_K: Tensor
        self.register_buffer("centre_K", torch.zeros(clusters))

    def loss(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        progress: float,
        matched_GV: Tensor | None = None,
    ) -> Tensor:
        """Return the loss.

        Args:
            student: embeddings of the student's views, (B, D) or (B, N, D) of N pieces: V in all.
            teacher: those of the teacher's views by the momentum encoder, G in all.
            progress: share of the training done.
            matched_GV: bool, which view of the student predicts which of the teacher. None is all
                but itself; the student's first G views are then the teacher's.
        """
        score_VBK = scores_by_view(self.student, student)
        temperature = self.teacher_temperature(progress)
        target_GBK = centred(self._taught(teacher), self.centre_K, temperature)
        if matched_GV is None:
            matched_GV = all_others(len(target_GBK), len(score_VBK))
        return cross_view(score_VBK / STUDENT_TEMPERATURE, target_GBK, matched_GV)

    def teacher_temperature(self, progress: float) -> float:
        """Linear from `COLDEST` to `temperature` over the warm-up: hot at the start is unstable."""
        done = min(1.0, progress / self.warmup) if self.warmup > 0 else 1.0
        start = min(COLDEST, self.temperature)
        return start + done * (self.temperature - start)

    def update(self, teacher: Sequence[Tensor]) -> None:
        """Move the centre towards the mean of what the teacher's head gives of its views."""
        mean_K = self._taught(teacher).mean(dim=(0, 1))
        self.centre_K.lerp_(mean_K, 1 - CENTRE_DECAY)

    @torch.no_grad()
    def _taught(self, teacher: Sequence[Tensor]) -> Tensor:
        return scores_by_view(self.teacher, teacher)
