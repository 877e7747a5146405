"""Batches of clips for tests of views.

In timed clips, the value of a frame and the loudness of its sound encode its time; noise clips are
random images of different sizes.
"""

import torch

from evossl.types import AUDIO_RATE, ClipBatch
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import View, ViewInput

LEVEL = 5  # gray levels between one frame of a timed clip and the next


def view_settings(*ignores: str, frames: int = 8, size: int = 16) -> ViewSettings:
    """Return settings for small views."""
    return ViewSettings(frames=frames, size=size, mel_bands=24, ignores=ignores)


def build_view(
    view: View, clips: ClipBatch, settings: ViewSettings, *, seed: int = 0, step: int = 0
) -> ViewInput:
    """Return the input of one view."""
    return build_views([view], clips, settings, seed=seed, step=step)[view.input_key]


def timed_clips(
    batch: int = 64, length: int = 32, fps: float = 10.0, lengths: torch.Tensor | None = None
) -> ClipBatch:
    """Return clips of uniform frames: frame t has the value LEVEL * t.

    The sound of frame t has the amplitude 1.25 ** t / 1000.
    """
    value_L = torch.arange(length, dtype=torch.uint8) * LEVEL
    samples = round(length / fps * AUDIO_RATE)
    frame_S = (torch.arange(samples) * fps / AUDIO_RATE).floor()
    generator = torch.Generator().manual_seed(0)
    noise_S = torch.randn(samples, generator=generator).clamp(-3, 3)
    waveform_S = noise_S * 1.25**frame_S / 1000
    return ClipBatch(
        frames_BLHWC=value_L[:, None, None, None].expand(batch, length, 12, 16, 3),
        num_frames_B=torch.full((batch,), length) if lengths is None else lengths,
        size_B2=torch.tensor([[12, 16]]).repeat(batch, 1),
        waveform_BS=waveform_S.expand(batch, samples),
        has_audio_B=torch.ones(batch, dtype=torch.bool),
        video_id_B=torch.arange(batch),
        fps=fps,
    )


def noise_clips(
    batch: int = 6, length: int = 20, pad: int = 0, seed: int = 0, fps: float = 12.0
) -> ClipBatch:
    """Return random images of different sizes, padded with `pad`, and random sound.

    Every third clip has no sound.
    """
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
