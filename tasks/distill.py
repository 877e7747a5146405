"""Distillation: a stage of the RGB encoder follows the same stage of another stream's encoder.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020): the L2 distance between a layer of the main network and that of another, for each of
them a weight that evolves. After Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.

From grayscale, flow and sound into RGB, at each of four stages.

Shapes: B clip, C channel, T time, H height, W width.

Should learn: motion.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from evossl.losses.distance import squared_error
from evossl.losses.maps import resampled, time_series
from evossl.task import Place, Task, TaskBatch, directed_pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, View


class Distill(Task):
    """Mean squared error between the maps of two views in step: same stretch, same crop.

    Where the widths differ, a 1x1x1 convolution maps the student's to the teacher's. Sound has no
    space: its map is averaged over mel bands, the student's over space, and its time is resampled
    to the student's steps.

    Args:
        place: (teacher, RGB), directed; its variant is the stage.
        joint: let the gradient into the teacher too.
    """

    places = directed_pairs(*Stream, into=Stream.RGB)
    variants = ("stage1", "stage2", "stage3", "stage4")
    needs_trained = 0

    def __init__(self, place: Place, joint: bool = False) -> None:
        super().__init__(place)
        assert place.variant is not None, "distillation stands at a stage"
        self.stage = place.variant
        self.joint = joint
        teacher, student = (place.shapes[stream].maps[self.stage][0] for stream in place.streams)
        self.project = nn.Conv3d(student, teacher, 1) if student != teacher else nn.Identity()

    def views(self) -> dict[str, View]:
        teacher, student = self.place.streams
        return {"teacher": View(teacher, space=WEAK), "student": View(student, space=WEAK)}

    def loss(self, seen: TaskBatch) -> Tensor:
        student = self.project(seen["student"].maps[self.stage])
        teacher = seen["teacher"].maps[self.stage]
        if not self.joint:
            teacher = teacher.detach()
        if self.place.stream is Stream.AUDIO:
            student = time_series(student, Stream.RGB)
            teacher = resampled(time_series(teacher, Stream.AUDIO), student.shape[-1])
        else:
            teacher = F.adaptive_avg_pool3d(teacher, student.shape[-3:])
        return squared_error(student, teacher)
