"""SlowFast: a slow pathway that sees every fourth frame, a fast and narrow one that sees them all.

Feichtenhofer, Fan, Malik, He, SlowFast Networks for Video Recognition, ICCV 2019.

Shapes: B clip, C channel, T time, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.models.backbones.pytorchvideo import create_slowfast, with_int_strides
from evossl.types import Features

SLOWER = 4  # frames of the fast pathway for one of the slow
NARROWER = 8  # channels of the slow pathway for one of the fast


class SlowFast(nn.Module):
    """Two pathways; a stage's map has the channels of both, at the slow one's steps.

    The slow pathway's channels come first, then what it is told by the fast (not at the last
    stage), then the fast pathway's, averaged over each slow step.
    """

    def __init__(self, stem: nn.Module, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleDict({f"stage{i}": stage for i, stage in enumerate(stages, 1)})

    def forward(self, pixels_BCTHW: Tensor) -> Features:
        """Return the features of a batch of clips; the embedding is the last map's mean."""
        slow, fast = self.stem([pixels_BCTHW[:, :, ::SLOWER], pixels_BCTHW])
        maps = {}
        for name, stage in self.stages.items():
            slow, fast = stage([slow, fast])
            maps[name] = torch.cat([slow, _slowed(fast)], dim=1)
        return Features(maps[name].mean(dim=(2, 3, 4)), maps)


def _slowed(map_BCTHW: Tensor) -> Tensor:
    """Means over `SLOWER` steps each; what is left at the end is a step too, as in `[::SLOWER]`."""
    window = min(SLOWER, map_BCTHW.shape[2])
    return F.avg_pool3d(map_BCTHW, (window, 1, 1), (SLOWER, 1, 1), ceil_mode=True)


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network: D = 36 x width, space / 32, time / 4; the slow stem has width.

    Raises:
        UserError: the fast pathway would have no whole number of channels.
    """
    if backbone.width % NARROWER:
        raise UserError(
            f"backbone.width: slowfast needs a multiple of {NARROWER}, got {backbone.width}"
        )
    network = create_slowfast(
        input_channels=(channels, channels),
        model_depth=backbone.depth,
        model_num_class=1,
        stem_dim_outs=(backbone.width, backbone.width // NARROWER),
        slowfast_channel_reduction_ratio=NARROWER,
        slowfast_fusion_conv_stride=(SLOWER, 1, 1),
    )
    stem, *stages, _pool, _head = network.blocks
    return with_int_strides(SlowFast(stem, stages))
