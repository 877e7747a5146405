"""DPC: predict the feature maps of the next blocks of frames from those of the blocks before.

Han, Xie, Zisserman, Video Representation Learning by Dense Predictive Coding, ICCV Workshops 2019.

On RGB, grayscale and flow. Not on audio: the length of a view is given in video frames, and a place
with audio alone knows only its log-mel steps.

Shapes: B clip, N block, P predicted block, C channel, H height, W width, X block of any clip.

Expected to learn: motion.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.io.task_options import PositiveCount
from evossl.losses.prediction import dpc_loss
from evossl.models.heads.conv_gru import ConvGRU
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Time, View

CHANNELS = 256  # of the paper's last map
MAX_SIDE = 4  # positions along a side; finer maps are averaged


class DPC(Task):
    """A ConvGRU aggregates the maps of past blocks; two 1 x 1 convolutions predict the next map.

    Each block is a clip of the encoder's input length; the blocks are consecutive and encoded
    separately, and their maps are averaged over time. Colours are jittered frame by frame, so that
    they do not reveal which block follows.

    Args:
        place: one stream.
        blocks: N, the number of blocks, past and predicted.
        predicted_blocks: P, how many of them are predicted: the last ones.

    Raises:
        ValueError: no block is predicted, or none is left to predict from.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self, place: Place, blocks: PositiveCount = 3, predicted_blocks: PositiveCount = 1
    ) -> None:
        super().__init__(place)
        if not 0 < predicted_blocks < blocks:
            raise ValueError(
                f"predicted_blocks must be 1 or more and less than blocks ({blocks}), "
                f"got {predicted_blocks}"
            )
        self.blocks, self.predicted_blocks = blocks, predicted_blocks
        self.frames = place.shape.input[1]
        channels, _, height, width = place.shape.last_map
        self.size = (min(height, MAX_SIDE), min(width, MAX_SIDE))
        self.input_projection = nn.Conv2d(channels, CHANNELS, 1)
        self.aggregator = ConvGRU(CHANNELS)
        self.predictor = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1)
        )

    def views(self) -> dict[str, View]:
        stream, blocks = self.place.stream, self.blocks
        time = Time(frames=self.frames * blocks, segments=blocks)
        return {"blocks": View(stream, time, STRONG, pieces=blocks, jitter_frames=True)}

    def loss(self, batch: TaskBatch) -> Tensor:
        block_BNCHW = self._project_blocks(batch["blocks"].last_map)
        num_past = self.blocks - self.predicted_blocks
        past, future = block_BNCHW[:, :num_past], block_BNCHW[:, num_past:]
        return dpc_loss(_flatten_positions(self._predict(past)), _flatten_positions(future))

    def _project_blocks(self, map_BNCTHW: Tensor) -> Tensor:
        map_XCHW = F.adaptive_avg_pool2d(map_BNCTHW.mean(dim=3).flatten(0, 1), self.size)
        block_XCHW: Tensor = self.input_projection(map_XCHW)
        return block_XCHW.reshape(*map_BNCTHW.shape[:2], *block_XCHW.shape[1:])

    def _predict(self, past_BNCHW: Tensor) -> Tensor:
        """Return P maps; each prediction is fed back before the next one is made."""
        state_BCHW: Tensor | None = None
        for block_BCHW in past_BNCHW.unbind(dim=1):
            state_BCHW = self.aggregator(block_BCHW.relu(), state_BCHW)
        predictions = [self.predictor(state_BCHW)]
        for _ in range(self.predicted_blocks - 1):
            state_BCHW = self.aggregator(predictions[-1].relu(), state_BCHW)
            predictions.append(self.predictor(state_BCHW))
        return torch.stack(predictions, dim=1)


def _flatten_positions(map_BPCHW: Tensor) -> Tensor:
    """One row for each position of each map."""
    return map_BPCHW.movedim(2, -1).flatten(0, 3)
