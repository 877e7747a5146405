"""SVT: predict the cluster assignment of a video's views from views of other speeds and extents.

Ranasinghe, Naseer, Khan, Khan, Ryoo, Self-supervised Video Transformer, CVPR 2022. After Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021.

On RGB, grayscale and flow. Not on audio, because local views are spatial crops too.

Shapes: B clip, K prototype, V student's view, G teacher's view.

Expected to learn: motion.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evossl.io.task_options import ClusterCount, PositiveFloat, UnitInterval
from evossl.losses.clustering import centre_and_sharpen, multi_view_cross_entropy
from evossl.models.heads.dino_head import DINOHead, ScoreCentre, teacher_temperature
from evossl.models.heads.prototypes import score_views
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import LocalCropCount, local_crop_views, momentum_views
from evossl.views.spec import STRONG, Time, View

MATCHINGS = ("l->g", "g->g", "l->l", "g->l")
SLOW_STRIDES = (2, 4)  # cache frames per step of the second global view, where they fit
STUDENT_TEMPERATURE = 0.1


class SVT(Task):
    """DINO's loss on two global views, of which the second spans more time, and on local views.

    The local views are small crops of the second global view, half as long as a clip. A matching
    "l->g" means that the student's local views predict the teacher's global views. No view predicts
    itself. The teacher is the momentum encoder with a momentum copy of the student's head.

    Args:
        place: one stream.
        matchings: some of "l->g", "g->g", "l->l", "g->l"; the paper's are the first two.
        local_crops: number of local views per clip.
        prototypes: number of prototypes, the outputs of the heads.
        teacher_temperature: the teacher's temperature after the warm-up. At the papers' 0.04 to
            0.07, a short training of a small encoder stays at the uniform distribution (measured).
        temperature_warmup: fraction of the training in which the temperature rises from 0.04, if
            it ends above that.

    Raises:
        ValueError: an unknown matching, no matching, or too few local crops.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self,
        place: Place,
        matchings: Sequence[str] = MATCHINGS[:2],
        local_crops: LocalCropCount = 4,
        prototypes: ClusterCount = 256,
        teacher_temperature: PositiveFloat = 0.02,
        temperature_warmup: UnitInterval = 0.1,
    ) -> None:
        super().__init__(place)
        _check_matchings(matchings, local_crops)
        self.teacher_temperature, self.temperature_warmup = teacher_temperature, temperature_warmup
        student, teacher = ({matching.split("->")[i] for matching in matchings} for i in (0, 1))
        views = _build_views(place, student, local_crops)
        self.student_views = {f"student {name}": view for name, view in views.items()}
        self.teacher_views = momentum_views(_build_views(place, teacher, local_crops))
        self.pair_GV = torch.tensor(
            [
                [f"{v[0]}->{g[0]}" in matchings and v != g for v in _labels(student, local_crops)]
                for g in _labels(teacher, local_crops)
            ]
        )
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
        return multi_view_cross_entropy(score_VBK / STUDENT_TEMPERATURE, target_GBK, self.pair_GV)

    def after_backward(self, progress: float) -> None:
        self.student_head.prototypes.cancel_early_gradient(progress)

    def after_step(self, batch: TaskBatch) -> None:
        self.centre.update(self._teacher_scores(batch))

    @torch.no_grad()
    def _teacher_scores(self, batch: TaskBatch) -> Tensor:
        return score_views(self.teacher_head, batch.embeddings(*self.teacher_views))


def _check_matchings(matchings: Sequence[str], local_crops: int) -> None:
    if not matchings or not set(matchings) <= set(MATCHINGS):
        raise ValueError(f"matchings must be some of {', '.join(MATCHINGS)}, got {matchings}")
    needed = 2 if "l->l" in matchings else int(any("l" in matching for matching in matchings))
    if local_crops < needed:
        raise ValueError(
            f"matchings {', '.join(matchings)} need local_crops of {needed} or more, "
            f"got {local_crops}"
        )


def _build_views(place: Place, kinds: set[str], local_crops: int) -> dict[str, View]:
    """Return the global views ("g"), the local views ("l"), or both."""
    stream, shape = place.stream, place.shape.input
    slow = View(stream, Time(stride=SLOW_STRIDES), STRONG, draw=1)
    views = {"0": View(stream, space=STRONG), "1": slow} if "g" in kinds else {}
    if "l" in kinds:
        time = Time(frames=max(2, shape[1] // 2))
        views |= local_crop_views(stream, shape, local_crops, time, within=slow)
    return views


def _labels(kinds: set[str], local_crops: int) -> list[tuple[str, int]]:
    """Return the kind and the number of each view, in the order in which the head scores them."""
    counts = {"g": 2, "l": local_crops}
    return [(kind, i) for kind, count in counts.items() if kind in kinds for i in range(count)]
