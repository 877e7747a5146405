"""An adapter between feature maps of image streams and of audio.

Shapes: B clip, C channel, T time, H height, W width, F mel band, X element of a plane.
"""

from torch import Tensor, nn

from evossl.losses.maps import pool_space
from evossl.types import Stream

ADAPTED_CHANNELS = 32
IMAGE_STRIDE = 16  # an adapted map for images has 1/16 of the image's height and width
AUDIO_STRIDE = 8  # an adapted map for audio has 1/8 of the mel bands


class CrossModalAdapter(nn.Module):
    """Turns an image stream's map into a map shaped like audio's, or the reverse.

    Mel bands do not correspond to image rows, so only time is preserved: the map is averaged over
    its other axes, and a linear layer turns each time step into a small plane of the target's kind.

    Args:
        source: the stream of the input map.
        map_shape: (C, T, H, W) of the input map; audio (C, 1, F, T).
        out_shape: (C, T, H, W) of the target's pixels; audio (1, 1, F, T).

    Attributes:
        shape: (C, T, H, W) of the adapted map; for an audio target (C, 1, F, T).
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
            plane = max(1, height // IMAGE_STRIDE), max(1, width // IMAGE_STRIDE)
            self.shape = (ADAPTED_CHANNELS, num_mel_steps, *plane)
            self.linear = nn.Linear(channels, ADAPTED_CHANNELS * plane[0] * plane[1])
        else:
            num_bands = max(1, height // AUDIO_STRIDE)
            self.shape = (ADAPTED_CHANNELS, 1, num_bands, num_frames)
            self.linear = nn.Linear(channels, ADAPTED_CHANNELS * num_bands)

    def forward(self, map_BCTHW: Tensor) -> Tensor:
        """Return the adapted map (B, *self.shape)."""
        series_BCT = pool_space(map_BCTHW, self.source)
        plane_BTX: Tensor = self.linear(series_BCT.transpose(1, 2))
        num_clips, num_steps, _ = plane_BTX.shape
        by_step = plane_BTX.reshape(num_clips, num_steps, ADAPTED_CHANNELS, self.shape[2], -1)
        if self.source is Stream.AUDIO:
            return by_step.transpose(1, 2)  # (B, T, C, H, W) to (B, C, T, H, W)
        return by_step.permute(0, 2, 4, 3, 1)  # (B, T, C, F, 1) to (B, C, 1, F, T)
