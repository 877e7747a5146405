"""Tempo: classify the playback speed of a clip, and match clips of one video at two speeds.

Wang, Jiao, Liu, Self-Supervised Video Representation Learning by Pace Prediction, ECCV 2020 (speed:
the stride as a class). Yang, Xu, Dai, Zhou, Video Representation Learning with Visual Tempo
Consistency, arXiv 2020 (consistency: a slow and a fast clip of one video, contrasted with others).

On RGB and grayscale. Not on flow, whose magnitude reveals the speed, nor on audio: log-mel columns
at a longer stride are averages, which even noise reveals.

Expected to learn: motion.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from evossl.io.task_options import PositiveCount
from evossl.losses.classification import cross_entropy
from evossl.losses.contrastive import nt_xent
from evossl.models.heads.mlp import projection_head
from evossl.task import Place, Task, TaskBatch, ViewOutput, each
from evossl.types import Stream
from evossl.views.spec import STRONG, WEAK, Time, View

PROJECTION_DIM = 128
TEMPERATURE = 0.1


class Tempo(Task):
    """Two variants. `speed`: a linear classifier of the stride; `consistency`: NT-Xent.

    Every clip lies in a window of the longest stride: a video too short for it is left out at any
    stride; otherwise being short would reveal a short stride.

    Args:
        place: one stream; its variant is `speed` or `consistency`.
        strides: in cache frames; consistency compares the smallest and the largest.

    Raises:
        ValueError: fewer than two strides, or one less than 1.
    """

    places = each(Stream.RGB, Stream.GRAY)
    variants = ("speed", "consistency")

    def __init__(self, place: Place, strides: Sequence[PositiveCount] = (1, 2, 3)) -> None:
        super().__init__(place)
        self.strides = tuple(sorted(set(strides)))
        if len(self.strides) < 2 or self.strides[0] < 1:
            raise ValueError(f"strides must be two or more numbers from 1 on, got {list(strides)}")
        if place.variant == "speed":
            self.classifier = nn.Linear(place.width, len(self.strides))
        else:
            self.projector = projection_head(place.width, PROJECTION_DIM)

    def views(self) -> dict[str, View]:
        stream, smallest, largest = self.place.stream, self.strides[0], self.strides[-1]
        if self.place.variant == "speed":
            longest = View(stream, Time(stride=largest), WEAK)
            return {"clip": View(stream, Time(stride=self.strides), WEAK, within=longest)}
        return {
            "slow": View(stream, Time(stride=(smallest,)), STRONG, draw=0),
            "fast": View(stream, Time(stride=(largest,)), STRONG, draw=1),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        if self.place.variant == "speed":
            clip = batch["clip"]
            return cross_entropy(self.classifier(clip.embedding_BD), self._label(clip))
        slow_BD, fast_BD = map(self.projector, batch.embeddings("slow", "fast"))
        return nt_xent(slow_BD, fast_BD, TEMPERATURE)

    def _label(self, clip: ViewOutput) -> Tensor:
        """Return the index of each clip's stride."""
        stride_B = clip.applied.stride_B
        return (stride_B[:, None] > stride_B.new_tensor(self.strides)).sum(dim=1)
