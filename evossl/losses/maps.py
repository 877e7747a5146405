"""Feature maps of different streams, made comparable: sound has mel bands where images have space.

Shapes: B clip, C channel, T time, H height, W width, F mel band.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.types import Stream


def time_series(map_BCTHW: Tensor, stream: Stream) -> Tensor:
    """Return (B, C, T): a map averaged over space, or sound's (B, C, 1, F, T) over mel bands."""
    if stream is Stream.AUDIO:
        return map_BCTHW.mean(dim=(2, 3))
    return map_BCTHW.mean(dim=(3, 4))


def resampled(series_BCT: Tensor, num_steps: int) -> Tensor:
    """Return (B, C, num_steps): each step is the mean of the steps that it spans."""
    return F.adaptive_avg_pool1d(series_BCT, num_steps)
