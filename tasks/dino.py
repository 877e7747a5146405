"""DINO: predict the momentum teacher's soft cluster assignment of one view from another view.

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

On every stream (RGB, grayscale, flow, audio); audio has no local crops.

Shapes: B clip, K prototype, V student's view, G teacher's view.

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.io.task_options import ClusterCount, PositiveFloat, UnitInterval
from evossl.losses.clustering import (
    centre_and_sharpen,
    different_view_pairs,
    multi_view_cross_entropy,
)
from evossl.models.heads.dino_head import DINOHead, ScoreCentre, teacher_temperature
from evossl.models.heads.prototypes import score_views
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import LocalCropCount, local_crop_views, momentum_views, strong_clips
from evossl.views.spec import View

STUDENT_TEMPERATURE = 0.1


class DINO(Task):
    """The student sees two whole clips and local crops, the teacher only the whole clips.

    The teacher is the momentum encoder with a momentum copy of the student's head. Its scores are
    centred by their running mean and sharpened by a low temperature, which prevents collapse.

    Args:
        place: one stream.
        prototypes: number of prototypes, the outputs of the heads.
        local_crops: number of local crops per clip.
        teacher_temperature: the teacher's temperature after the warm-up. At the paper's 0.04 to
            0.07, a short training of a small encoder stays at the uniform distribution (measured).
        temperature_warmup: fraction of the training in which the temperature rises from 0.04, if
            it ends above that.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        prototypes: ClusterCount = 256,
        local_crops: LocalCropCount = 4,
        teacher_temperature: PositiveFloat = 0.02,
        temperature_warmup: UnitInterval = 0.1,
    ) -> None:
        super().__init__(place)
        self.teacher_temperature, self.temperature_warmup = teacher_temperature, temperature_warmup
        clips = strong_clips(place.stream, rho=2)
        crops = local_crop_views(place.stream, place.shape.input, local_crops)
        self.student_views = clips | crops
        self.teacher_views = momentum_views(clips, prefix="teacher")
        self.student_head = DINOHead(place.width, prototypes)
        self.teacher_head = self.momentum(self.student_head)
        self.centre = ScoreCentre(prototypes)

    def views(self) -> dict[str, View]:
        return self.student_views | self.teacher_views

    def loss(self, batch: TaskBatch) -> Tensor:
        score_VBK = score_views(self.student_head, batch.embeddings(*self.student_views))
        temperature = teacher_temperature(
            batch.progress, final=self.teacher_temperature, warmup=self.temperature_warmup
        )
        target_GBK = centre_and_sharpen(
            self._teacher_scores(batch), self.centre.mean_K, temperature
        )
        pair_GV = different_view_pairs(len(target_GBK), len(score_VBK))
        return multi_view_cross_entropy(score_VBK / STUDENT_TEMPERATURE, target_GBK, pair_GV)

    def after_backward(self, progress: float) -> None:
        self.student_head.prototypes.cancel_early_gradient(progress)

    def after_step(self, batch: TaskBatch) -> None:
        self.centre.update(self._teacher_scores(batch))

    @torch.no_grad()
    def _teacher_scores(self, batch: TaskBatch) -> Tensor:
        return score_views(self.teacher_head, batch.embeddings(*self.teacher_views))
