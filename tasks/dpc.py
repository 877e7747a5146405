"""DPC: the feature maps of the next blocks of frames, predicted from those of the blocks before.

Han, Xie, Zisserman, Video Representation Learning by Dense Predictive Coding, ICCV Workshops 2019.

On RGB, grayscale and flow. Not on sound: a view's length is counted in frames of the video, and a
place of sound alone knows only its own log-mel steps.

Shapes: B clip, N block, P predicted block, C channel, H height, W width.

Should learn: motion.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.io.task_options import Count
from evossl.losses.prediction import dpc_loss
from evossl.models.heads.conv_gru import ConvGRU
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

CHANNELS = 256  # of the paper's last map
MOST_PLACES = 4  # sides of it; a finer map is averaged


class DPC(Task):
    """A block's map is averaged over its time; a ConvGRU remembers, two 1 x 1 convolutions predict.

    A block is a clip, as the encoder will be shown; they follow one another and are seen each by
    itself. Colours are jittered frame by frame, so that they say nothing about what follows.

    Args:
        place: one stream.
        blocks: N, seen and predicted together.
        predicted: P, the last of them.

    Raises:
        ValueError: no block that is predicted, or none to predict from.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, blocks: Count = 3, predicted: Count = 1) -> None:
        super().__init__(place)
        if not 0 < predicted < blocks:
            raise ValueError(f"predicted is 1 or more and less than blocks, got {predicted}")
        self.blocks, self.predicted = blocks, predicted
        self.frames = place.shape.input[1]
        channels, _, height, width = place.shape.last_map
        self.size = (min(height, MOST_PLACES), min(width, MOST_PLACES))
        self.squeeze = nn.Conv2d(channels, CHANNELS, 1)
        self.remember = ConvGRU(CHANNELS)
        self.predict = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1)
        )

    def views(self) -> dict[str, View]:
        stream, blocks = self.place.stream, self.blocks
        time = Time(frames=self.frames * blocks, segments=blocks)
        return {"blocks": View(stream, time, STRONG, pieces=blocks, jitter_frames=True)}

    def loss(self, seen: TaskBatch) -> Tensor:
        block_BNCHW = self._blocks(seen["blocks"].last_map)
        past, future = block_BNCHW[:, : -self.predicted], block_BNCHW[:, -self.predicted :]
        return dpc_loss(_places(self._predictions(past)), _places(future))

    def _blocks(self, map_BNCTHW: Tensor) -> Tensor:
        map_XCHW = F.adaptive_avg_pool2d(map_BNCTHW.mean(dim=3).flatten(0, 1), self.size)
        block_XCHW: Tensor = self.squeeze(map_XCHW)
        return block_XCHW.reshape(*map_BNCTHW.shape[:2], *block_XCHW.shape[1:])

    def _predictions(self, past_BNCHW: Tensor) -> Tensor:
        """Return P maps, each from what is remembered, the predictions before it included."""
        state_BCHW: Tensor | None = None
        for block_BCHW in past_BNCHW.unbind(dim=1):
            state_BCHW = self.remember(block_BCHW.relu(), state_BCHW)
        predictions = [self.predict(state_BCHW)]
        for _ in range(self.predicted - 1):
            state_BCHW = self.remember(predictions[-1].relu(), state_BCHW)
            predictions.append(self.predict(state_BCHW))
        return torch.stack(predictions, dim=1)


def _places(map_BPCHW: Tensor) -> Tensor:
    """All places of all maps, one a row."""
    return map_BPCHW.movedim(2, -1).flatten(0, 3)
