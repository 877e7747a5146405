"""SlowFast: a slow pathway on every fourth frame, and a fast, narrow pathway on all frames.

Feichtenhofer, Fan, Malik, He, SlowFast Networks for Video Recognition, ICCV 2019.

Shapes: B clip, C channel, T time, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.pytorchvideo import adapted, create_slowfast
from evossl.types import Features

FRAME_RATIO = 4  # frames of the fast pathway per frame of the slow one; the paper's alpha
CHANNEL_RATIO = 8  # channels of the slow pathway per channel of the fast one; 1 / beta of the paper


class SlowFast(nn.Module):
    """Two pathways; the map of a stage has the channels of both, at the steps of the slow one.

    The channels of the slow pathway come first, then those of the lateral connection from the fast
    one (except at the last stage), then those of the fast pathway, averaged over each slow step.
    """

    def __init__(self, stem: nn.Module, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleDict({f"stage{i}": stage for i, stage in enumerate(stages, 1)})

    def forward(self, pixels_BCTHW: Tensor) -> Features:
        """Return the features of a batch of clips; the embedding is the last map's mean."""
        slow, fast = self.stem([pixels_BCTHW[:, :, ::FRAME_RATIO], pixels_BCTHW])
        maps = {}
        for name, stage in self.stages.items():
            slow, fast = stage([slow, fast])
            maps[name] = torch.cat([slow, _average_over_slow_steps(fast)], dim=1)
        return Features(maps[name].mean(dim=(2, 3, 4)), maps)


def _average_over_slow_steps(map_BCTHW: Tensor) -> Tensor:
    """Return the means over `FRAME_RATIO` steps each; an incomplete last group counts as a step."""
    window = min(FRAME_RATIO, map_BCTHW.shape[2])
    return F.avg_pool3d(map_BCTHW, (window, 1, 1), (FRAME_RATIO, 1, 1), ceil_mode=True)


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network, with `width` channels in the stem of the slow pathway.

    The embedding has D = 36 x width. The last map has 1/32 of the pixels per side and 1/4 of the
    frames.

    Raises:
        UserError: the width is not divisible by `CHANNEL_RATIO`.
    """
    if backbone.width % CHANNEL_RATIO:
        raise UserError(
            f"backbone.width: slowfast needs a multiple of {CHANNEL_RATIO}, got {backbone.width}"
        )
    network = create_slowfast(
        input_channels=(channels, channels),
        model_depth=backbone.depth,
        model_num_class=1,
        stem_dim_outs=(backbone.width, backbone.width // CHANNEL_RATIO),
        slowfast_channel_reduction_ratio=CHANNEL_RATIO,
        slowfast_fusion_conv_stride=(FRAME_RATIO, 1, 1),
    )
    stem, *stages, _pool, _head = network.blocks
    return factorise_convolutions(adapted(SlowFast(stem, stages)))
