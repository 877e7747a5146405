"""A predictor of the features at masked positions of a map.

Shapes: B clip, C channel, T time, H height, W width.
"""

import torch
from torch import Tensor, nn

from evossl.models.heads.clip_decoder import Size, conv_block

MAX_HIDDEN_CHANNELS = 128  # a weak predictor leaves the work to the encoder
NUM_BLOCKS = 2  # two kernels of 3 cover 5 positions, a whole last map
KERNEL = Size(3, 3, 3)


class MapPredictor(nn.Module):
    """Replaces masked positions of a map by a learned token and applies convolutions.

    It is the convolutional counterpart of V-JEPA's predictor, a transformer that fills in mask
    tokens from context tokens. At a partly masked position, features and token are mixed in
    proportion.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = min(channels, MAX_HIDDEN_CHANNELS)
        self.input_conv = nn.Conv3d(channels, width, 1)
        self.mask_token_C111 = nn.Parameter(torch.zeros(width, 1, 1, 1))
        self.blocks = nn.Sequential(*(conv_block(width, width, KERNEL) for _ in range(NUM_BLOCKS)))
        self.output_conv = nn.Conv3d(width, channels, 1)

    def forward(self, map_BCTHW: Tensor, fraction_BTHW: Tensor) -> Tensor:
        """Return the predicted map (B, C, T, H, W).

        Args:
            map_BCTHW: the student's map of the masked input.
            fraction_BTHW: the masked fraction of each position, in [0, 1].
        """
        visible_BCTHW = self.input_conv(map_BCTHW)
        fraction_B1THW = fraction_BTHW[:, None].to(visible_BCTHW.dtype)
        context_BCTHW = visible_BCTHW.lerp(self.mask_token_C111, fraction_B1THW)
        predicted: Tensor = self.output_conv(self.blocks(context_BCTHW))
        return predicted
