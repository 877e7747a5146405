"""Types that several layers share: streams, batches of clips, and features.

Shapes: B clip, L frame of a clip's stretch, H height, W width, C channel, S audio sample,
D embedding, N piece of a sample, T time.
"""

from __future__ import annotations  # torch is only in annotations, so that the search imports none

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AUDIO_RATE = 16_000  # Hz, of every waveform
PIXEL_MEAN, PIXEL_SD = 0.45, 0.225  # of all channels and of luma; SlowFast's, close to Kinetics'

Progress = Callable[[int, int], None]
"""A progress callback: called with (units done, units in total)."""


class Stream(StrEnum):
    """One modality of a clip."""

    RGB = "rgb"
    GRAY = "gray"
    FLOW = "flow"
    AUDIO = "audio"

    @property
    def channels(self) -> int:
        """Number of input channels of the encoder: RGB 3, flow 2 (dx, dy), gray and log-mel 1."""
        return {"rgb": 3, "flow": 2}.get(self.value, 1)


@dataclass(frozen=True)
class ClipBatch:
    """Decoded stretches of B videos, as the clip cache holds them.

    Attributes:
        frames_BLHWC: uint8. Short stretches are padded with their last frame; small images are
            padded with zeros on the right and at the bottom.
        num_frames_B: int64, number of frames of each stretch without padding (at least 1).
        size_B2: int64, (height, width) of each sample's frames without padding.
        waveform_BS: float32 in [-1, 1] at `AUDIO_RATE`, of the same seconds as the frames; zeros
            where there is no sound. S = round(L / fps * AUDIO_RATE).
        has_audio_B: bool, the stretch has sound: an audio track that is not digital silence.
        video_id_B: int64, number of the video among the readable ones.
        fps: frames per second, the same for all samples.
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
        """Return the batch on `device`; the copy is asynchronous if the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> ClipBatch:
        """Return the batch in page-locked memory, from which a GPU can copy asynchronously."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> ClipBatch:
        names = (name for name in self.__dataclass_fields__ if name != "fps")
        return ClipBatch(**{name: change(getattr(self, name)) for name in names}, fps=self.fps)


@dataclass(frozen=True)
class Features:
    """The output of an encoder for one view.

    Attributes:
        embedding_BD: the pooled map of the last stage; (B, N, D) for a view of N > 1 pieces.
        maps: the feature map of each stage ("stage1", ...): (B, C, T, H, W), for sound
            (B, C, 1, F, T) with F mel bands; (B, N, ...) for a view of N > 1 pieces.
    """

    embedding_BD: Tensor
    maps: Mapping[str, Tensor]

    def rows(self, index: Tensor) -> Features:
        """Return the features of the samples that `index` (bool mask or int64) selects."""
        maps = {stage: map_[index] for stage, map_ in self.maps.items()}
        return Features(self.embedding_BD[index], maps)

    def detach(self) -> Features:
        """Return the same features, detached from the graph."""
        maps = {stage: map_.detach() for stage, map_ in self.maps.items()}
        return Features(self.embedding_BD.detach(), maps)


@dataclass(frozen=True)
class EncoderShape:
    """The shapes of an encoder's input and features, without the batch.

    Attributes:
        width: D of `Features.embedding_BD`.
        maps: (C, T, H, W) of the map of each stage, in order; for sound (C, 1, F, T).
        input: (C, T, H, W) of the input; for sound (1, 1, F, T).
    """

    width: int
    maps: Mapping[str, tuple[int, int, int, int]]
    input: tuple[int, int, int, int]

    @property
    def last_map(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the map of the last stage."""
        return list(self.maps.values())[-1]
