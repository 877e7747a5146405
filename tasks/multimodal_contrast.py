"""Multimodal contrast: two streams of one clip together, those of different clips apart.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020), a max-margin loss. After Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning
an Invariant Mapping, CVPR 2006.

On every pair of streams: grayscale and RGB of one clip differ in colour, which the pair ignores.

Shapes: B clip, D embedding.

Should learn: motion, sound.
"""

from torch import Tensor, nn

from evossl.io.task_options import Positive
from evossl.losses.contrastive import max_margin
from evossl.losses.distance import unit
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, pairs
from evossl.types import Stream
from evossl.views.spec import STRONG, View

PROJECTED = 128


class MultimodalContrast(Task):
    """A projector for each stream; distances are between points of the unit sphere.

    Args:
        place: two streams.
        margin: in distance on the unit sphere, where two independent points are about sqrt(2)
            apart: 1 is an angle of 60 degrees.
    """

    places = pairs(*Stream)

    def __init__(self, place: Place, margin: Positive = 1.0) -> None:
        super().__init__(place)
        self.margin = margin
        widths = {stream: place.shapes[stream].width for stream in place.streams}
        self.project = nn.ModuleDict({s: mlp([d, d, PROJECTED]) for s, d in widths.items()})

    def views(self) -> dict[str, View]:
        return {stream: View(stream, space=STRONG) for stream in self.place.streams}

    def loss(self, seen: TaskBatch) -> Tensor:
        x_BD, y_BD = (
            unit(self.project[stream](seen[stream].embedding_BD)) for stream in self.place.streams
        )
        return max_margin(x_BD, y_BD, self.margin)
