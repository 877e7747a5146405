"""Arrow of time: classify whether a clip is played backwards or forwards.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Wei, Lim, Zisserman, Freeman, Learning and Using the Arrow of Time, CVPR 2018.

On every stream; for audio the log-mel is reversed. Frames of RGB and grayscale are jittered, so
that a fade in brightness hardly reveals the answer (a linear classifier on the brightness of the
frames is right in 67 % of clips, and in over 95 % without the jitter). The decay of sounds is left
in, although it does reveal the direction.

Expected to learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.classification import binary_cross_entropy
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View


class ArrowOfTime(Task):
    """A linear classifier of clips, half of which are played backwards."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.classifier = nn.Linear(place.width, 1)

    def views(self) -> dict[str, View]:
        time = Time(reverse=0.5)
        return {"clip": View(self.place.stream, time, WEAK, jitter_frames=True)}

    def loss(self, batch: TaskBatch) -> Tensor:
        clip = batch["clip"]
        logit_B = self.classifier(clip.embedding_BD).squeeze(-1)
        return binary_cross_entropy(logit_B, clip.applied.reversed_B)
