"""BraVe: a short (narrow) view of a video predicts a long (broad) view, and the reverse.

Recasens et al., Broaden Your Views for Self-Supervised Video Learning, ICCV 2021. In the paper the
two views have separate encoders; here both views of RGB use the one RGB encoder.

On RGB, and on RGB with flow or audio, which is then the stream of the broad view.

Expected to learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import PositiveCount
from evossl.losses.regression import cross_view_negative_cosine
from evossl.models.heads.mlp import prediction_head, projection_head
from evossl.task import Place, Task, TaskBatch, each, pairs
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

PROJECTION_DIM = 128
VIEWS = ("narrow", "broad")


class BraVe(Task):
    """1 - cosine between each view's prediction and the other's projection, without its gradient.

    Each view has its own projector and predictor.

    Args:
        place: RGB, or RGB and the broad view's stream.
        broad_stride: how many times as long the broad view lasts: it has as many frames, farther
            apart.
        synchronised: both views start at the same time; otherwise at independent times.

    Raises:
        ValueError: `broad_stride` is less than 1.
    """

    places = each(Stream.RGB) + pairs(Stream.RGB, Stream.FLOW) + pairs(Stream.RGB, Stream.AUDIO)

    def __init__(
        self, place: Place, broad_stride: PositiveCount = 3, synchronised: bool = False
    ) -> None:
        super().__init__(place)
        if broad_stride < 1:
            raise ValueError(f"broad_stride must be 1 or more, got {broad_stride}")
        self.broad_stride, self.synchronised = broad_stride, synchronised
        self.streams = dict(zip(VIEWS, (place.streams[0], place.streams[-1]), strict=True))
        widths = {name: place.shapes[stream].width for name, stream in self.streams.items()}
        self.projector = nn.ModuleDict(
            {name: projection_head(d, PROJECTION_DIM, last_norm=True) for name, d in widths.items()}
        )
        self.predictor = nn.ModuleDict(
            {
                name: prediction_head(PROJECTION_DIM, 2 * d, hidden_layers=2)
                for name, d in widths.items()
            }
        )

    def views(self) -> dict[str, View]:
        num_frames = self.place.shapes[Stream.RGB].input[1]
        window = self.broad_stride * num_frames if self.synchronised else None
        narrow_time, broad_time = (
            Time(stride=(1,), window=window),
            Time(stride=(self.broad_stride,)),
        )
        time_draw = 0 if self.synchronised else 1
        return {
            "narrow": View(self.streams["narrow"], narrow_time, STRONG, draw=0),
            "broad": View(self.streams["broad"], broad_time, STRONG, draw=1, time_draw=time_draw),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        projections = [self.projector[name](batch[name].embedding_BD) for name in VIEWS]
        predictions = [self.predictor[n](x) for n, x in zip(VIEWS, projections, strict=True)]
        return 1 + cross_view_negative_cosine(torch.stack(predictions), torch.stack(projections))
