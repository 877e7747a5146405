"""Arrow of time: is this clip played backwards, or forwards?

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Wei, Lim, Zisserman, Freeman, Learning and Using the Arrow of Time, CVPR 2018.

On every stream; for sound the log-mel is reversed. Frames of RGB and gray are jittered, so that a
shot that fades does not tell by its light. How a sound dies away is left in: it tells the way.

Should learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.classification import binary_cross_entropy
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View


class ArrowOfTime(Task):
    """A linear answer to clips of which half are played backwards."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = nn.Linear(place.width, 1)

    def views(self) -> dict[str, View]:
        time = Time(reverse=0.5)
        return {"clip": View(self.place.stream, time, WEAK, jitter_frames=True)}

    def loss(self, seen: TaskBatch) -> Tensor:
        clip = seen["clip"]
        return binary_cross_entropy(
            self.head(clip.embedding_BD).squeeze(-1), clip.applied.reversed_B
        )
