"""Synthetic batches that say what happened to them: a frame's value encodes its time."""

from collections.abc import Callable

import pytest
import torch

from evossl.types import AUDIO_RATE, ClipBatch
from evossl.views.settings import ViewSettings
from tests.helpers.view_levels import LEVEL


@pytest.fixture(scope="session")
def settings() -> Callable[..., ViewSettings]:
    def build(*ignores: str, frames: int = 8, size: int = 16) -> ViewSettings:
        return ViewSettings(frames=frames, size=size, mel_bands=24, ignores=ignores)

    return build


@pytest.fixture(scope="session")
def timed() -> Callable[..., ClipBatch]:
    """Uniform frames of value LEVEL * t; sound of frame t has an amplitude of 1.25 ** t / 1000."""

    def build(batch: int = 64, length: int = 32, fps: float = 10.0, lengths=None) -> ClipBatch:
        value_L = torch.arange(length, dtype=torch.uint8) * LEVEL
        samples = round(length / fps * AUDIO_RATE)
        frame_S = (torch.arange(samples) * fps / AUDIO_RATE).floor()
        generator = torch.Generator().manual_seed(0)
        noise_S = torch.randn(samples, generator=generator).clamp(-3, 3)
        return ClipBatch(
            frames_BLHWC=value_L[None, :, None, None, None]
            .expand(batch, length, 12, 16, 3)
            .contiguous(),
            num_frames_B=torch.full((batch,), length) if lengths is None else lengths,
            size_B2=torch.tensor([[12, 16]]).repeat(batch, 1),
            waveform_BS=(noise_S * 1.25**frame_S / 1000).repeat(batch, 1),
            has_audio_B=torch.ones(batch, dtype=torch.bool),
            video_id_B=torch.arange(batch),
            fps=fps,
        )

    return build


@pytest.fixture(scope="session")
def noisy() -> Callable[..., ClipBatch]:
    """Random images of different true sizes, padded with a value of choice; random sound."""

    def build(
        batch: int = 6, length: int = 20, pad: int = 0, seed: int = 0, fps: float = 12.0
    ) -> ClipBatch:
        generator = torch.Generator().manual_seed(seed)
        size_B2 = torch.tensor([[30, 40], [40, 30], [24, 40], [32, 32], [40, 28], [27, 33]])
        size_B2 = size_B2.repeat(batch // 6 + 1, 1)[:batch]
        frames = torch.randint(0, 256, (batch, length, 40, 40, 3), generator=generator)
        for frame, (height, width) in zip(frames, size_B2.tolist(), strict=True):
            frame[:, height:] = pad
            frame[:, :, width:] = pad
        samples = round(length / fps * AUDIO_RATE)
        return ClipBatch(
            frames_BLHWC=frames.byte(),
            num_frames_B=torch.full((batch,), length),
            size_B2=size_B2,
            waveform_BS=torch.randn(batch, samples, generator=generator) * 0.1,
            has_audio_B=torch.arange(batch) % 3 != 2,
            video_id_B=torch.arange(batch),
            fps=fps,
        )

    return build
