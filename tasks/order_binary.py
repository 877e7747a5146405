"""Order: is this clip shuffled, or in order?

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Misra, Zitnick, Hebert, Shuffle and Learn: Unsupervised Learning using Temporal
Order Verification, ECCV 2016.

On every stream; for sound the segments are of its log-mel. As much time as a segment lasts is left
out between two of them, shuffled or not, so that a jump alone says nothing (its size may); frames
are jittered for the same reason, and flow is within segments.

Should learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.classification import binary_cross_entropy
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View

SEGMENTS = 4
GAP = 0.5
FEWEST_SEGMENTS = 3  # two have only their order and its reversal, which does not count as shuffled


class OrderBinary(Task):
    """A linear answer to clips of which half are shuffled."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = nn.Linear(place.width, 1)

    def views(self) -> dict[str, View]:
        time = Time(segments=self._num_segments(), shuffle=0.5, gap=GAP)
        return {"clip": View(self.place.stream, time, WEAK, jitter_frames=True)}

    def _num_segments(self) -> int:
        """Four, or the number nearest to it that cuts the clip's frames into equal segments."""
        if self.place.stream is Stream.AUDIO:
            return SEGMENTS
        num_frames = self.place.shape.input[1]
        most = num_frames // (2 if self.place.stream is Stream.FLOW else 1)
        equal = [n for n in range(FEWEST_SEGMENTS, most + 1) if num_frames % n == 0]
        return min(equal, key=lambda n: abs(n - SEGMENTS), default=SEGMENTS)

    def loss(self, seen: TaskBatch) -> Tensor:
        clip = seen["clip"]
        return binary_cross_entropy(
            self.head(clip.embedding_BD).squeeze(-1), clip.applied.shuffled_B
        )
