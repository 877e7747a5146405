"""A predictor of what a map would be where its encoder saw nothing.

Shapes: B clip, C channel, T time, H height, W width.
"""

import torch
from torch import Tensor, nn

from evossl.models.heads.clip_decoder import Size, conv_block

NARROW = 128  # channels inside, at most: the encoder is to know, not its predictor
DEPTH = 2  # two kernels of 3 reach over 5 places, a whole last map
KERNEL = Size(3, 3, 3)


class MapPredictor(nn.Module):
    """Puts one learned token where places are hidden and convolves it with what was seen.

    As V-JEPA's predictor, a transformer there, fills mask tokens from context tokens. A place that
    is hidden in part is mixed in proportion.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = min(channels, NARROW)
        self.enter = nn.Conv3d(channels, width, 1)
        self.token_C111 = nn.Parameter(torch.zeros(width, 1, 1, 1))
        self.mix = nn.Sequential(*(conv_block(width, width, KERNEL) for _ in range(DEPTH)))
        self.leave = nn.Conv3d(width, channels, 1)

    def forward(self, map_BCTHW: Tensor, share_BTHW: Tensor) -> Tensor:
        """Return the predicted map (B, C, T, H, W).

        Args:
            map_BCTHW: the student's, of an input with blanks.
            share_BTHW: how much of each place was blanked, in [0, 1].
        """
        seen_BCTHW = self.enter(map_BCTHW)
        context_BCTHW = seen_BCTHW.lerp(self.token_C111, share_BTHW[:, None].to(seen_BCTHW.dtype))
        predicted: Tensor = self.leave(self.mix(context_BCTHW))
        return predicted
