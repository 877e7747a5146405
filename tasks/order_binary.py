"""Order: is this clip shuffled, or in order?

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Misra, Zitnick, Hebert, Shuffle and Learn: Unsupervised Learning using Temporal
Order Verification, ECCV 2016.

On every stream; for sound the segments are of its log-mel.

Should learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.classification import yes_or_no
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.spec import WEAK, Time, View

SEGMENTS = 4
FEWEST_SEGMENTS = 3  # two have only their order and its reversal, which does not count as shuffled


class OrderBinary(Task):
    """A linear answer to half-shuffled clips; frames are jittered, lest their joints give it away.

    Flow is not jittered: it is computed from the frames, and a jitter would be a motion.
    """

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = nn.Linear(place.width, 1)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        time = Time(segments=self._num_segments(), shuffle=0.5)
        jitter = stream in (Stream.RGB, Stream.GRAY)
        return {"clip": View(stream, time=time, space=WEAK, jitter_frames=jitter)}

    def _num_segments(self) -> int:
        """Four, or the number nearest to it that cuts the clip's frames into equal segments."""
        if self.place.stream is Stream.AUDIO:
            return SEGMENTS
        num_frames = self.place.shape.input[1]
        equal = [n for n in range(FEWEST_SEGMENTS, num_frames + 1) if num_frames % n == 0]
        return min(equal, key=lambda n: abs(n - SEGMENTS), default=SEGMENTS)

    def loss(self, seen: Seen) -> Tensor:
        clip = seen["clip"]
        return yes_or_no(self.head(clip.embedding_BD).squeeze(-1), clip.applied.shuffled_B)
