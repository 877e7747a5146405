"""Pooling that makes feature maps of image and audio streams comparable.

Shapes: B clip, C channel, T time, H height, W width, F mel band.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.types import Stream


def pool_space(map_BCTHW: Tensor, stream: Stream) -> Tensor:
    """Return (B, C, T): the map averaged over space, or audio (B, C, 1, F, T) over mel bands."""
    if stream is Stream.AUDIO:
        return map_BCTHW.mean(dim=(2, 3))
    return map_BCTHW.mean(dim=(3, 4))


def resample_time(series_BCT: Tensor, num_steps: int) -> Tensor:
    """Return (B, C, num_steps): each new step is the mean of the old steps that it covers."""
    return F.adaptive_avg_pool1d(series_BCT, num_steps)
