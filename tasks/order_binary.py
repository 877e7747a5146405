"""Order verification: classify whether the segments of a clip are shuffled or in order.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Misra, Zitnick, Hebert, Shuffle and Learn: Unsupervised Learning using Temporal
Order Verification, ECCV 2016.

On every stream; for audio the segments are parts of the log-mel. Between segments there is a gap,
shuffled or not, so that a jump alone reveals nothing (its size may); frames are jittered for the
same reason, and flow is computed within segments.

Expected to learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.classification import binary_cross_entropy
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View

NUM_SEGMENTS = 4
MIN_SEGMENTS = 3  # two have only their order and its reversal, which does not count as shuffled
GAP = 0.5  # fraction of the time that is left out between segments


class OrderBinary(Task):
    """A linear classifier of clips, half of which are shuffled."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.classifier = nn.Linear(place.width, 1)

    def views(self) -> dict[str, View]:
        time = Time(segments=self._num_segments(), shuffle=0.5, gap=GAP)
        return {"clip": View(self.place.stream, time, WEAK, jitter_frames=True)}

    def _num_segments(self) -> int:
        """Return 4, or the nearest number that divides the clip into equal segments."""
        if self.place.stream is Stream.AUDIO:
            return NUM_SEGMENTS
        num_frames = self.place.shape.input[1]
        max_segments = num_frames // (2 if self.place.stream is Stream.FLOW else 1)
        divisors = [n for n in range(MIN_SEGMENTS, max_segments + 1) if num_frames % n == 0]
        return min(divisors, key=lambda n: abs(n - NUM_SEGMENTS), default=NUM_SEGMENTS)

    def loss(self, batch: TaskBatch) -> Tensor:
        clip = batch["clip"]
        logit_B = self.classifier(clip.embedding_BD).squeeze(-1)
        return binary_cross_entropy(logit_B, clip.applied.shuffled_B)
