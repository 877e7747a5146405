"""BraVe: a short view of a video predicts a long one, in its own stream or another, and back.

Recasens et al., Broaden Your Views for Self-Supervised Video Learning, ICCV 2021. There the two
views have encoders of their own; here RGB's is one, which sees both.

On RGB, and on RGB with flow or sound, which is then what the broad view shows.

Should learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import Count
from evossl.losses.regression import negative_cosine
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each, pairs
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

PROJECTED = 128
VIEWS = ("narrow", "broad")


class BraVe(Task):
    """1 - cosine between what one view predicts and the other's projection, which learns nothing.

    Every pair of views has its own two projectors and two predictors.

    Args:
        place: RGB, or RGB and the broad view's stream.
        reach: how many times as long the broad view lasts: it has as many frames, further apart.
        synchronised: both begin at the same moment, else each at one of its own.

    Raises:
        ValueError: a reach below 1.
    """

    places = each(Stream.RGB) + pairs(Stream.RGB, Stream.FLOW) + pairs(Stream.RGB, Stream.AUDIO)

    def __init__(self, place: Place, reach: Count = 3, synchronised: bool = False) -> None:
        super().__init__(place)
        if reach < 1:
            raise ValueError(f"reach is 1 or more, got {reach}")
        self.reach, self.synchronised = reach, synchronised
        self.streams = dict(zip(VIEWS, (place.streams[0], place.streams[-1]), strict=True))
        widths = {name: place.shapes[stream].width for name, stream in self.streams.items()}
        self.project = nn.ModuleDict(
            {name: mlp([d, d, PROJECTED], last_norm=True) for name, d in widths.items()}
        )
        self.predict = nn.ModuleDict(
            {name: mlp([PROJECTED, 2 * d, 2 * d, PROJECTED]) for name, d in widths.items()}
        )

    def views(self) -> dict[str, View]:
        num_frames = self.place.shapes[Stream.RGB].input[1]
        window = self.reach * num_frames if self.synchronised else None
        narrow = View(self.streams["narrow"], Time(stride=(1,), window=window), STRONG, draw=0)
        when = 0 if self.synchronised else 1
        time = Time(stride=(self.reach,))
        broad = View(self.streams["broad"], time, STRONG, draw=1, time_draw=when)
        return {"narrow": narrow, "broad": broad}

    def loss(self, seen: TaskBatch) -> Tensor:
        projections = [self.project[name](seen[name].embedding_BD) for name in VIEWS]
        predictions = [self.predict[n](x) for n, x in zip(VIEWS, projections, strict=True)]
        return 1 + negative_cosine(torch.stack(predictions), torch.stack(projections))
