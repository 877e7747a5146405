"""Distillation: a stage of the RGB encoder matches the same stage of another stream's encoder.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020): the L2 distance between a layer of the main network and the same layer of another one,
each with a weight that evolves. After Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.

From grayscale, flow and audio to RGB, at each of four stages.

Shapes: B clip, C channel, T time, H height, W width.

Expected to learn: motion.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from evossl.losses.distance import mean_squared_error
from evossl.losses.maps import pool_space, resample_time
from evossl.task import Place, Task, TaskBatch, directed_pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, View


class Distill(Task):
    """Mean squared error between the maps of two synchronised views: same time, same crop.

    Where the widths differ, a 1x1x1 convolution projects the student's map to the teacher's width.
    Audio has no spatial axes: its map is averaged over mel bands, the student's over space, and the
    audio is resampled to the student's time steps.

    Args:
        place: (teacher, RGB), directed; its variant is the stage.
        joint: let the gradient flow into the teacher too.
    """

    places = directed_pairs(*Stream, into=Stream.RGB)
    variants = ("stage1", "stage2", "stage3", "stage4")
    teacher_stream_index = 0

    def __init__(self, place: Place, joint: bool = False) -> None:
        super().__init__(place)
        assert place.variant is not None, "the variant of a distillation is a stage"
        self.stage = place.variant
        self.joint = joint
        teacher, student = (place.shapes[stream].maps[self.stage][0] for stream in place.streams)
        self.projector = nn.Conv3d(student, teacher, 1) if student != teacher else nn.Identity()

    def views(self) -> dict[str, View]:
        teacher, student = self.place.streams
        return {"teacher": View(teacher, space=WEAK), "student": View(student, space=WEAK)}

    def loss(self, batch: TaskBatch) -> Tensor:
        student = self.projector(batch["student"].maps[self.stage])
        teacher = batch["teacher"].maps[self.stage]
        if not self.joint:
            teacher = teacher.detach()
        if self.place.stream is Stream.AUDIO:
            student = pool_space(student, Stream.RGB)
            teacher = resample_time(pool_space(teacher, Stream.AUDIO), student.shape[-1])
        else:
            teacher = F.adaptive_avg_pool3d(teacher, student.shape[-3:])
        return mean_squared_error(student, teacher)
