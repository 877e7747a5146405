"""Log-mel spectrograms compared with torchaudio, and their alignment with frames."""

import math

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from evossl.types import AUDIO_RATE, Stream
from evossl.views import log_mel as log_mel_module
from evossl.views.build import build_views
from evossl.views.log_mel import (
    LOG_MEL_MEAN,
    LOG_MEL_SD,
    POWER_FLOOR,
    augment_waveform,
    columns_per_frame,
)
from evossl.views.spec import WEAK, Time, View
from evossl.views.step_rng import StepRNG
from tests.helpers.view_clips import build_view, noise_clips, timed_clips, view_settings


def replaced(clips, **changes):
    return type(clips)(**{**vars(clips), **changes})


def test_columns_are_near_10_ms_and_whole_per_frame() -> None:
    for fps in (2.0, 5, 8, 10, 12, 15, 24, 25, 30):
        assert 7.5 <= 1000 / (fps * columns_per_frame(fps)) <= 14.3
    assert columns_per_frame(12) == 8, "8 frames at 12 fps have 64 columns"
    assert columns_per_frame(500) == 1


def test_log_mel_matches_torchaudio() -> None:
    """At 10 fps a column is exactly 160 samples, with the analysis window at its centre."""
    clips = noise_clips(length=8, fps=10.0)
    view = View(Stream.AUDIO, space=WEAK)
    ours = build_view(view, clips, view_settings()).pixels[:, 0, 0]
    mel = MelSpectrogram(
        AUDIO_RATE,
        n_fft=512,
        win_length=400,
        hop_length=160,
        f_min=60,
        f_max=7800,
        n_mels=24,
        center=False,
    )
    # torchaudio centres the 400 samples in the 512, so the centre of its window 0 is sample 256.
    padded = torch.nn.functional.pad(clips.waveform_BS, (256 - 80, 512))
    theirs = (torch.log(mel(padded)[..., :80] + POWER_FLOOR) - LOG_MEL_MEAN) / LOG_MEL_SD
    assert ours.shape == theirs.shape == (6, 24, 80)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_sound_covers_exactly_the_seconds_of_its_frames() -> None:
    clips = noise_clips(batch=6, length=30)
    view = View(Stream.AUDIO, time=Time(offset=2, stride=2), space=WEAK)
    built = build_view(view, clips, view_settings())
    begin = (built.applied.start_B + 4) / 12 * AUDIO_RATE
    at = torch.arange(clips.waveform_BS.shape[1])
    heard = (at >= begin[:, None].round()) & (at < (begin + 16 / 12 * AUDIO_RATE)[:, None].round())
    silent = replaced(clips, waveform_BS=clips.waveform_BS * heard)
    other = build_view(view, silent, view_settings())
    assert torch.equal(built.pixels, other.pixels)
    halved = replaced(clips, waveform_BS=torch.where(heard, 0.5 * clips.waveform_BS, 0.0))
    quieter = build_view(view, halved, view_settings())
    difference = (built.pixels - quieter.pixels) * LOG_MEL_SD
    torch.testing.assert_close(
        difference, torch.full_like(difference, math.log(4)), atol=0.1, rtol=0
    )


@pytest.mark.parametrize(
    "time",
    [
        Time(stride=(1, 2), reverse=0.5, segments=4, shuffle=0.5, shift=0.3),
        Time(stride=(1, 2), reverse=0.5, segments=4, shuffle=0.5, gap=0.5),
    ],
)
@pytest.mark.parametrize("fps", [10.0, 12.0, 25.0])
def test_sound_is_aligned_with_frames_of_equal_draws(fps, time) -> None:
    """The amplitude of the sound of frame t is 1.25 ** t, so t can be read from the columns."""
    clips, settings = timed_clips(batch=16, fps=fps), view_settings(size=2)
    picture, heard = (View(stream, time=time, space=WEAK) for stream in (Stream.RGB, Stream.AUDIO))
    built = build_views([picture, heard], clips, settings, seed=0, step=0)
    value = built[picture.input_key].pixels.mean(dim=(1, 3, 4)) * 0.225 + 0.45
    frame = value * 255 / 5 + (built[picture.input_key].applied.stride_B[:, None] - 1) / 2
    power = (
        (built[heard.input_key].pixels[:, 0, 0] * LOG_MEL_SD).unflatten(2, (8, -1)).mean(dim=(1, 3))
    )
    slope = 2 * math.log(1.25)
    gap = frame - power / slope
    assert (gap - gap.median()).abs().max() < 1.0, "frames"
    assert built[picture.input_key].applied.reversed_B.any()


def test_reversed_sound_is_the_spectrogram_backwards() -> None:
    clips = noise_clips()
    forth, back = (View(Stream.AUDIO, time=Time(reverse=p), space=WEAK) for p in (0.0, 1.0))
    built = build_views([forth, back], clips, view_settings(), seed=0, step=0)
    assert torch.equal(built[back.input_key].pixels, built[forth.input_key].pixels.flip(-1))


def test_a_stride_averages_the_power_of_its_columns() -> None:
    clips, settings = noise_clips(length=16), view_settings()
    fast = View(Stream.AUDIO, time=Time(frames=8, stride=2), space=WEAK)
    slow = View(Stream.AUDIO, time=Time(frames=16), space=WEAK)
    built = build_views([fast, slow], clips, settings, seed=0, step=0)
    power = torch.exp(built[slow.input_key].pixels * LOG_MEL_SD + LOG_MEL_MEAN) - POWER_FLOOR
    mean = power.unflatten(-1, (64, 2)).mean(dim=-1)
    expected = (torch.log(mean + POWER_FLOOR) - LOG_MEL_MEAN) / LOG_MEL_SD
    torch.testing.assert_close(built[fast.input_key].pixels, expected, atol=1e-3, rtol=0)


def test_samples_without_sound_are_invalid() -> None:
    clips = noise_clips()
    views = View(Stream.AUDIO, space=WEAK), View(Stream.RGB, space=WEAK)
    built = build_views(views, clips, view_settings(), seed=0, step=0)
    assert torch.equal(built[views[0].input_key].valid_B, clips.has_audio_B)
    assert built[views[1].input_key].valid_B.all()
    assert built[views[0].input_key].pixels.isfinite().all()


def test_augmented_sound_has_the_drawn_gain_and_noise() -> None:
    time = torch.arange(16000) / AUDIO_RATE
    clean = torch.sin(2 * math.pi * 440 * time).repeat(200, 1)
    rng = StepRNG(0, 0, torch.device("cpu"))
    heard = augment_waveform(clean, rng, 0)
    gain = (heard * clean).mean(1) / clean.square().mean(1)
    decibels = 20 * gain.log10()
    assert -6.1 < decibels.min() < -5.5
    assert 5.5 < decibels.max() < 6.1
    noise = (heard / gain[:, None] - clean).square().mean(1) / clean.square().mean(1)
    decibels = 10 * noise.log10()
    assert -40.5 < decibels.min() < -38
    assert -12 < decibels.max() < -9.5


def test_only_strong_sound_with_noise_ignored_is_augmented() -> None:
    clips, weak, strong = noise_clips(), View(Stream.AUDIO, space=WEAK), View(Stream.AUDIO)
    plain = build_views(
        [weak, strong], clips, view_settings("crop", "colour", "time"), seed=0, step=0
    )
    noise = build_views([weak, strong], clips, view_settings("noise", "time"), seed=0, step=0)
    assert torch.equal(plain[weak.input_key].pixels, noise[weak.input_key].pixels)
    assert torch.equal(plain[weak.input_key].pixels, plain[strong.input_key].pixels)
    assert not torch.equal(plain[strong.input_key].pixels, noise[strong.input_key].pixels)


def test_every_mel_filter_covers_some_frequency() -> None:
    for bands in (24, 40, 64):
        assert (log_mel_module._mel_filters(bands).sum(0) > 0).all()
