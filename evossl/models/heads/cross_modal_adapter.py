"""Bridge: from a map of images to the seed of a sound, and back.

Shapes: B clip, C channel, T time, H height, W width, F mel band, X place of a plane.
"""

from torch import Tensor, nn

from evossl.losses.maps import time_series
from evossl.types import Stream

SEED_CHANNELS = 32
IMAGE_SHRINK = 16  # an image's seed is this much smaller than the image
SOUND_SHRINK = 8  # sound's seed has this much fewer mel bands


class Bridge(nn.Module):
    """Lifts each time step of a map to a small plane, between sound and images.

    A mel band is no row of an image, so only time is carried over: the map is averaged over the
    other axes, and a linear layer gives each step a plane of the target's kind.

    Args:
        source: its stream.
        map_shape: (C, T, H, W) of the source's map; sound (C, 1, F, T).
        out_shape: (C, T, H, W) of the target; sound (1, 1, F, T).

    Attributes:
        shape: of the seed, as `map_shape` is of the target's kind.
    """

    def __init__(
        self,
        source: Stream,
        map_shape: tuple[int, int, int, int],
        out_shape: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        self.source = source
        channels, num_frames, _, num_mel_steps = map_shape
        _, _, height, width = out_shape
        if source is Stream.AUDIO:
            plane = max(1, height // IMAGE_SHRINK), max(1, width // IMAGE_SHRINK)
            self.shape = (SEED_CHANNELS, num_mel_steps, *plane)
            self.lift = nn.Linear(channels, SEED_CHANNELS * plane[0] * plane[1])
        else:
            num_bands = max(1, height // SOUND_SHRINK)
            self.shape = (SEED_CHANNELS, 1, num_bands, num_frames)
            self.lift = nn.Linear(channels, SEED_CHANNELS * num_bands)

    def forward(self, map_BCTHW: Tensor) -> Tensor:
        """Return the seed (B, *self.shape)."""
        series_BCT = time_series(map_BCTHW, self.source)
        lifted_BTX: Tensor = self.lift(series_BCT.transpose(1, 2))
        num_clips, num_steps, _ = lifted_BTX.shape
        by_step = lifted_BTX.reshape(num_clips, num_steps, SEED_CHANNELS, self.shape[2], -1)
        if self.source is Stream.AUDIO:
            return by_step.transpose(1, 2)  # (B, T, C, H, W) to (B, C, T, H, W)
        return by_step.permute(0, 2, 4, 3, 1)  # (B, T, C, F, 1) to (B, C, 1, F, T)
