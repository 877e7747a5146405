"""Slow and steady: features change little from clip to clip, and keep changing in one direction.

Jayaraman, Grauman, Slow and Steady Feature Analysis: Higher Order Temporal Coherence in Video,
CVPR 2016. Here clips replace frames, and negatives come from other videos.

On RGB, grayscale and flow. Not on audio: the distance between clips is given in video frames, which
a place with audio alone does not know.

Shapes: B clip, D projection.

Expected to learn: appearance.
"""

from torch import Tensor

from evossl.losses.contrastive import max_margin_loss
from evossl.losses.distance import l2_normalise
from evossl.models.heads.mlp import projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

PROJECTION_DIM = 128
CLIPS = ("first", "second", "third")


class SlowAndSteady(Task):
    """Two max-margin losses: for two consecutive clips (slow) and two consecutive steps (steady).

    Each clip has its own crop, and its own colours where the space ignores them: a shared crop
    would reveal which clips belong together.

    Args:
        place: one stream.
        steady: weight of the second loss; the first has weight 1.
        margin: distance on the unit sphere from which on a clip of another video has no loss.

    Raises:
        ValueError: a margin of 0 or less, with which all clips could collapse to one point.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, steady: float = 1.0, margin: float = 1.0) -> None:
        super().__init__(place)
        if margin <= 0:
            raise ValueError(f"margin must be greater than 0, got {margin}")
        self.steady, self.margin = steady, margin
        self.projector = projection_head(place.width, PROJECTION_DIM)

    def views(self) -> dict[str, View]:
        stream, frames = self.place.stream, self.place.shape.input[1]
        times = [Time(offset=i * frames, window=len(CLIPS) * frames) for i in range(len(CLIPS))]
        return {
            name: View(stream, time, STRONG, time_draw=0, space_draw=draw)
            for draw, (name, time) in enumerate(zip(CLIPS, times, strict=True))
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        first, second, third = (
            l2_normalise(self.projector(x_BD)) for x_BD in batch.embeddings(*CLIPS)
        )
        slow = max_margin_loss(first, second, self.margin)
        steady = max_margin_loss(second - first, third - second, self.margin)
        return slow + self.steady * steady
