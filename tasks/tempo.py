"""Tempo: how fast is this clip played, and what stays the same at another tempo?

Wang, Jiao, Liu, Self-Supervised Video Representation Learning by Pace Prediction, ECCV 2020 (speed:
the stride as a class). Yang, Xu, Dai, Zhou, Video Representation Learning with Visual Tempo
Consistency, arXiv 2020 (consistency: a slow and a fast clip of one video, contrasted with others).

On RGB and grayscale. Not on flow, whose length is the tempo, nor on sound: columns of a longer
stride are averages, which noise alone gives away.

Should learn: motion.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from evossl.io.task_options import Count
from evossl.losses.classification import cross_entropy
from evossl.losses.contrastive import nt_xent
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, WEAK, Time, View

PROJECTED = 128
TEMPERATURE = 0.1


class Tempo(Task):
    """Two terms. `speed`: a linear answer to a clip of one stride; `consistency`: NT-Xent.

    The clip lies in the window of the longest stride: a video too short for it is left out at any
    stride, else short videos alone would tell a short stride.

    Args:
        place: one stream; its variant is the term.
        speeds: strides, in frames of the cache; consistency is between the least and the greatest.

    Raises:
        ValueError: fewer than two strides, or one below 1.
    """

    places = each(Stream.RGB, Stream.GRAY)
    variants = ("speed", "consistency")

    def __init__(self, place: Place, speeds: Sequence[Count] = (1, 2, 3)) -> None:
        super().__init__(place)
        self.speeds = tuple(sorted(set(speeds)))
        if len(self.speeds) < 2 or self.speeds[0] < 1:
            raise ValueError(f"speeds are two or more strides of 1 or more, got {list(speeds)}")
        if place.variant == "speed":
            self.head: nn.Module = nn.Linear(place.width, len(self.speeds))
        else:
            self.head = mlp([place.width, place.width, PROJECTED])

    def views(self) -> dict[str, View]:
        stream, slowest, fastest = self.place.stream, self.speeds[0], self.speeds[-1]
        if self.place.variant == "speed":
            room = View(stream, Time(stride=fastest), WEAK)
            return {"clip": View(stream, Time(stride=self.speeds), WEAK, within=room)}
        return {
            "slow": View(stream, Time(stride=(slowest,)), STRONG, draw=0),
            "fast": View(stream, Time(stride=(fastest,)), STRONG, draw=1),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        if self.place.variant == "speed":
            return cross_entropy(self.head(seen["clip"].embedding_BD), self._label(seen))
        slow_BD, fast_BD = (self.head(seen[name].embedding_BD) for name in ("slow", "fast"))
        return nt_xent(slow_BD, fast_BD, TEMPERATURE)

    def _label(self, seen: TaskBatch) -> Tensor:
        stride_B = seen["clip"].applied.stride_B
        return (stride_B[:, None] > stride_B.new_tensor(self.speeds)).sum(dim=1)
