"""Sound of a video: mono at 16 kHz, in step with its first frame. PyAV.

Shapes: S audio sample.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    good_frames,
    open_video,
    timed_frames,
    why_unreadable,
)
from evossl.types import AUDIO_RATE

GAP_SECONDS = 0.05  # a jump of the times by more is a hole (or an overlap), not rounding


def decode_sound(path: str, max_seconds: float) -> NDArray[np.float32] | None:
    """Return waveform_S in [-1, 1], mono, at `AUDIO_RATE`; sample 0 is at the first frame's time.

    Sound that starts later is padded with zeros, earlier sound is cut; holes are zeros. S is as far
    as the sound goes, at most `max_seconds`. None without an audio track, or with one of which
    nothing can be read. A track that breaks halfway keeps its good part.

    Raises:
        DecodeError: the file has no readable video.
    """
    with open_video(path) as (container, stream):
        if _audio_stream(container) is None:
            return None
        start, _ = next(timed_frames(container, stream), (None, None))
    if start is None:
        raise DecodeError(why_unreadable(path))
    with open_video(path) as (container, _):
        sound = _audio_stream(container)
        assert sound is not None
        return _joined(_runs(container, sound, start + max_seconds), start, max_seconds)


def _audio_stream(container: InputContainer) -> AudioStream | None:
    usable = (sound for sound in container.streams.audio if sound.codec_context is not None)
    return next(usable, None)


@dataclass
class _Run:
    """Frames of sound without a hole between them, in one format; `start` in seconds."""

    start: float
    kind: tuple[str, str, int]
    resampler: AudioResampler = field(
        default_factory=lambda: AudioResampler(
            format="fltp", rate=AUDIO_RATE, frame_size=AUDIO_RATE
        )
    )
    parts: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, frame: AudioFrame | None) -> None:
        """Resample a frame and average its channels; None ends the run.

        FFmpeg's own mix to mono adds channels up (0.71 each), which clips.
        """
        if frame is not None:
            frame.pts = None  # the run keeps the time
        self.parts += [
            np.asarray(part.to_ndarray(), dtype=np.float32).mean(axis=0)
            for part in self.resampler.resample(frame)
        ]


def _runs(container: InputContainer, sound: AudioStream, end: float) -> list[_Run]:
    runs: list[_Run] = []
    expected = 0.0
    for frame in good_frames(container, sound):
        if not frame.samples or not frame.sample_rate:
            continue
        time = expected if frame.time is None else float(frame.time)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if not runs or kind != runs[-1].kind or abs(time - expected) > GAP_SECONDS:
            if runs:
                runs[-1].add(None)
            runs.append(_Run(time, kind))
        expected = time + frame.samples / frame.sample_rate
        runs[-1].add(frame)
        if expected >= end:
            break
    if runs:
        runs[-1].add(None)
    return runs


def _joined(runs: list[_Run], start: float, max_seconds: float) -> NDArray[np.float32] | None:
    """Return the runs on one time line that begins at `start`."""
    if not runs:
        return None
    limit = math.floor(max_seconds * AUDIO_RATE + 0.5)
    placed = [
        (round((run.start - start) * AUDIO_RATE), np.concatenate(run.parts))
        for run in runs
        if run.parts
    ]
    num_samples = max(0, min(limit, max((at + len(part) for at, part in placed), default=0)))
    waveform_S = np.zeros(num_samples, np.float32)
    for at, part in placed:
        begin, end = max(0, at), min(num_samples, at + len(part))
        if begin < end:
            waveform_S[begin:end] = part[begin - at : end - at]
    return np.clip(np.nan_to_num(waveform_S), -1.0, 1.0)
