"""What flows between the layers: streams, clips in, features out.

Shapes: B clip, L frame of a clip's stretch, H height, W width, C channel, S audio sample,
D embedding, N piece of a sample, T time.
"""

from __future__ import annotations  # torch is named in annotations only: the search imports none

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AUDIO_RATE = 16_000  # Hz, of every waveform in the system
PIXEL_MEAN, PIXEL_SD = 0.45, 0.225  # Kinetics' channels, about; of luma too (SlowFast's constants)


class Stream(StrEnum):
    """One modality of a clip."""

    RGB = "rgb"
    GRAY = "gray"
    FLOW = "flow"
    AUDIO = "audio"

    @property
    def channels(self) -> int:
        """Channels of an encoder's input: RGB 3, flow 2 (dx, dy), gray and log-mel 1."""
        return {"rgb": 3, "flow": 2}.get(self.value, 1)


@dataclass(frozen=True)
class ClipBatch:
    """Decoded stretches of B videos, as the cache holds them.

    Attributes:
        frames_BLHWC: uint8; stretches are padded at the end by their last frame, images by zeros
            on the right and at the bottom.
        num_frames_B: int64, frames of each stretch that are not padding (at least 1).
        size_B2: int64, true (height, width) of each sample's frames.
        waveform_BS: float32 in [-1, 1] at `AUDIO_RATE`, the same seconds as the frames; zeros where
            there is no sound. S = round(L / fps * AUDIO_RATE).
        has_audio_B: bool, there is sound in this stretch: a track, and more than digital silence.
        video_id_B: int64, the row of the video among the readable ones.
        fps: frames a second of `frames_BLHWC`, the same for all.
    """

    frames_BLHWC: Tensor
    num_frames_B: Tensor
    size_B2: Tensor
    waveform_BS: Tensor
    has_audio_B: Tensor
    video_id_B: Tensor
    fps: float

    def __len__(self) -> int:
        return len(self.frames_BLHWC)

    def to(self, device: torch.device | str) -> ClipBatch:
        """Return the batch on `device` (non-blocking where the memory is pinned)."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> ClipBatch:
        """Return the batch in page-locked memory, from where a GPU copies while others compute."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> ClipBatch:
        names = (name for name in self.__dataclass_fields__ if name != "fps")
        return ClipBatch(**{name: change(getattr(self, name)) for name in names}, fps=self.fps)


@dataclass(frozen=True)
class Features:
    """What an encoder gives of one view.

    Attributes:
        embedding_BD: pooled last stage; (B, N, D) for a view of N > 1 pieces.
        maps: the stages' feature maps by name ("stage1", ...), (B, C, T, H, W), for sound
            (B, C, 1, F, T) with F mel bands; (B, N, ...) for a view of N > 1 pieces.
    """

    embedding_BD: Tensor
    maps: Mapping[str, Tensor]

    def rows(self, index: Tensor) -> Features:
        """Return the features of the samples that `index` (bool mask or int64) selects."""
        maps = {stage: map_[index] for stage, map_ in self.maps.items()}
        return Features(self.embedding_BD[index], maps)

    def detach(self) -> Features:
        """Return the same features without gradient."""
        maps = {stage: map_.detach() for stage, map_ in self.maps.items()}
        return Features(self.embedding_BD.detach(), maps)


@dataclass(frozen=True)
class EncoderShape:
    """What a stream's encoder gives of the space's clip.

    Attributes:
        width: D of `Features.embedding_BD`.
        maps: (C, T, H, W) of each stage's map, in order; sound (C, 1, F, T).
        input: (C, T, H, W) of its input; sound (1, 1, F, T).
    """

    width: int
    maps: Mapping[str, tuple[int, int, int, int]]
    input: tuple[int, int, int, int]

    @property
    def last_map(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the last stage's map."""
        return list(self.maps.values())[-1]
