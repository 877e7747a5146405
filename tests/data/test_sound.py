"""Decoded sound: aligned with the frames, mono, 16 kHz."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evossl.data.decode.sound import decode_sound
from evossl.types import AUDIO_RATE

MakeVideo = Callable[..., Path]


def tone(hertz: float, seconds: float, rate: int, amplitude: float = 0.5) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def onset(waveform: NDArray[np.float32]) -> float:
    """Return when the sound begins, in seconds."""
    return int(np.argmax(np.abs(waveform) > 0.2)) / AUDIO_RATE


def late_tone(seconds: float, rate: int) -> NDArray[np.float32]:
    """Return half a second of silence, then a tone."""
    silence = np.zeros(rate // 2, np.float32)
    return np.concatenate([silence, tone(500, seconds - 0.5, rate)])[None]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_an_onset_stays_where_it_was_at_any_rate(make_video: MakeVideo, rate: int) -> None:
    path = make_video("v.mp4", 48, 24, sound=late_tone(2.0, rate), sound_rate=rate)
    waveform = decode_sound(str(path), 30.0)
    assert waveform is not None
    assert waveform.dtype == np.float32
    assert onset(waveform) == pytest.approx(0.5, abs=0.012)  # AAC smears an attack
    assert len(waveform) == pytest.approx(2.0 * AUDIO_RATE, abs=0.15 * AUDIO_RATE)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_late_sound_is_padded_and_early_sound_is_cut(make_video: MakeVideo, suffix: str) -> None:
    late = make_video(f"a.{suffix}", 48, sound=late_tone(1.0, 16_000), sound_start=0.7)
    waveform = decode_sound(str(late), 30.0)
    assert waveform is not None
    assert onset(waveform) == pytest.approx(1.2, abs=0.012)
    times = [0.3 + i / 24 for i in range(48)]
    early = decode_sound(
        str(make_video(f"b.{suffix}", 48, times=times, sound=late_tone(2.0, 16_000))), 30.0
    )
    assert early is not None
    assert onset(early) == pytest.approx(0.2, abs=0.012)


def test_pitch_survives_resampling(make_video: MakeVideo) -> None:
    sound = tone(1234, 2.0, 44_100)[None]
    waveform = decode_sound(str(make_video("v.mp4", 48, sound=sound, sound_rate=44_100)), 30.0)
    assert waveform is not None
    spectrum = np.abs(np.fft.rfft(waveform[:AUDIO_RATE]))
    assert int(spectrum.argmax()) == 1234  # one bin a hertz


def test_stereo_is_averaged(make_video: MakeVideo) -> None:
    left = tone(440, 1.0, 48_000, 0.8)
    for right, expected in [(left, 0.8), (-left, 0.0), (0 * left, 0.4)]:
        path = make_video("v.mp4", 24, sound=np.stack([left, right]), sound_rate=48_000)
        waveform = decode_sound(str(path), 30.0)
        assert waveform is not None
        assert np.abs(waveform[4_000:12_000]).max() == pytest.approx(expected, abs=0.05)


def test_max_seconds_bounds_the_samples(make_video: MakeVideo) -> None:
    path = make_video("v.mp4", 48, sound=late_tone(2.0, 16_000))
    waveform = decode_sound(str(path), 0.75)
    assert waveform is not None
    assert len(waveform) == 12_000
    whole = decode_sound(str(path), 30.0)
    assert whole is not None
    assert np.allclose(waveform, whole[:12_000], atol=1e-6)


def test_a_video_without_a_track_has_no_sound(make_video: MakeVideo) -> None:
    assert decode_sound(str(make_video("v.mp4", 12)), 30.0) is None


def test_a_hole_in_the_track_is_silence(make_video: MakeVideo) -> None:
    path = make_video("v.mkv", 72, sound=tone(500, 3.0, 16_000)[None], sound_hole=(1.0, 2.0))
    waveform = decode_sound(str(path), 30.0)
    assert waveform is not None
    assert np.abs(waveform[17_600:30_400]).max() == 0
    for begin, end in [(0.1, 0.9), (2.1, 2.9)]:
        part = waveform[int(begin * AUDIO_RATE) : int(end * AUDIO_RATE)]
        assert np.abs(part).max() == pytest.approx(0.5, abs=0.05)


def test_real_clips_have_the_tracks_their_readme_counts(surveillance_clips: Path) -> None:
    clips = sorted(surveillance_clips.rglob("nofi*.mp4"))
    assert len(clips) == 60
    waveforms = [decode_sound(str(path), 1.0) for path in clips]
    with_track = [waveform for waveform in waveforms if waveform is not None]
    assert len(with_track) == 53
    assert sum(np.abs(waveform).max() < 1e-4 for waveform in with_track) == 27
