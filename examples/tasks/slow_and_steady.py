"""Slow and steady: what a video shows changes little from clip to clip, and goes on as it began.

Jayaraman, Grauman, Slow and Steady Feature Analysis: Higher Order Temporal Coherence in Video,
CVPR 2016. Here clips take the place of frames, and what is pushed apart is of other videos.

On RGB, grayscale and flow. Not on sound: how far apart clips are is counted in frames of the video,
which a place of sound alone does not know.

Shapes: B clip, D projection.

Should learn: appearance.
"""

from torch import Tensor

from evossl.losses.contrastive import max_margin
from evossl.losses.distance import unit
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

PROJECTED = 128
CLIPS = ("first", "second", "third")


class SlowAndSteady(Task):
    """Two max-margin losses: of two clips in a row (slow), and of the two steps of three (steady).

    Each clip has a crop of its own, and colours where the space ignores them: a shared crop would
    tell which clips belong together.

    Args:
        place: one stream.
        steady: weight of the second loss; the first has 1.
        margin: distance on the unit sphere from which on another video's clip costs nothing.

    Raises:
        ValueError: no margin: all clips could lie in one point.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, steady: float = 1.0, margin: float = 1.0) -> None:
        super().__init__(place)
        if margin <= 0:
            raise ValueError(f"the margin is above 0, got {margin}")
        self.steady, self.margin = steady, margin
        self.project = mlp([place.width, place.width, PROJECTED])

    def views(self) -> dict[str, View]:
        stream, frames = self.place.stream, self.place.shape.input[1]
        times = [Time(offset=i * frames, window=len(CLIPS) * frames) for i in range(len(CLIPS))]
        return {
            name: View(stream, time, STRONG, time_draw=0, space_draw=draw)
            for draw, (name, time) in enumerate(zip(CLIPS, times, strict=True))
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        first, second, third = (unit(self.project(x_BD)) for x_BD in seen.embeddings(*CLIPS))
        slow = max_margin(first, second, self.margin)
        steady = max_margin(second - first, third - second, self.margin)
        return slow + self.steady * steady
