"""Multimodal contrast: two streams of one clip attract, those of different clips repel each other.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020), a max-margin loss. After Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning
an Invariant Mapping, CVPR 2006.

On every pair of streams. Grayscale and RGB of one clip differ in colour, which the pair teaches to
ignore.

Shapes: B clip, D embedding.

Expected to learn: motion, sound.
"""

from torch import Tensor, nn

from evossl.io.task_options import PositiveFloat
from evossl.losses.contrastive import max_margin_loss
from evossl.losses.distance import l2_normalise
from evossl.models.heads.mlp import projection_head
from evossl.task import Place, Task, TaskBatch, pairs
from evossl.types import Stream
from evossl.views.spec import STRONG, View

PROJECTION_DIM = 128


class MultimodalContrast(Task):
    """Max-margin loss on unit-length projections; each stream has its own projector.

    Args:
        place: two streams.
        margin: in distance on the unit sphere, where two independent points are about sqrt(2)
            apart; 1 is an angle of 60 degrees.
    """

    places = pairs(*Stream)

    def __init__(self, place: Place, margin: PositiveFloat = 1.0) -> None:
        super().__init__(place)
        self.margin = margin
        widths = {stream: place.shapes[stream].width for stream in place.streams}
        self.projector = nn.ModuleDict(
            {stream: projection_head(d, PROJECTION_DIM) for stream, d in widths.items()}
        )

    def views(self) -> dict[str, View]:
        return {stream: View(stream, space=STRONG) for stream in self.place.streams}

    def loss(self, batch: TaskBatch) -> Tensor:
        x_BD, y_BD = (
            l2_normalise(self.projector[stream](batch[stream].embedding_BD))
            for stream in self.place.streams
        )
        return max_margin_loss(x_BD, y_BD, self.margin)
