"""The sound of a video: mono at 16 kHz, aligned with its first frame; decoded by PyAV.

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
    decodable_frames,
    open_video,
    timed_frames,
    unreadable_reason,
)
from evossl.types import AUDIO_RATE

MAX_JITTER_SECONDS = 0.05  # a larger jump in time is a gap or an overlap, not rounding


def decode_sound(path: str, max_seconds: float) -> NDArray[np.float32] | None:
    """Return waveform_S in [-1, 1], mono, at `AUDIO_RATE`; sample 0 is at the first frame's time.

    Sound that starts later is padded with zeros, earlier sound is cut off; gaps are zeros. S
    reaches to the end of the sound, at most `max_seconds`. None if there is no audio track or
    nothing of it can be decoded. Of a track that is damaged from some point on, the part before it
    is decoded.

    Raises:
        DecodeError: the file has no readable video.
    """
    with open_video(path) as (container, stream):
        if _audio_stream(container) is None:
            return None
        start, _ = next(timed_frames(container, stream), (None, None))
    if start is None:
        raise DecodeError(unreadable_reason(path))
    with open_video(path) as (container, _):
        sound = _audio_stream(container)
        assert sound is not None
        return _join(_read_segments(container, sound, start + max_seconds), start, max_seconds)


def _audio_stream(container: InputContainer) -> AudioStream | None:
    usable = (sound for sound in container.streams.audio if sound.codec_context is not None)
    return next(usable, None)


@dataclass
class _Segment:
    """Consecutive audio frames of one format without a gap, resampled; `start` is in seconds."""

    start: float
    format: tuple[str, str, int]
    resampler: AudioResampler = field(
        default_factory=lambda: AudioResampler(
            format="fltp", rate=AUDIO_RATE, frame_size=AUDIO_RATE
        )
    )
    parts: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, frame: AudioFrame | None) -> None:
        """Resample a frame and average its channels; None flushes the resampler.

        FFmpeg's own mix to mono adds the channels with a weight of 0.71 each, which clips.
        """
        if frame is not None:
            frame.pts = None  # the segment has the time
        self.parts += [
            np.asarray(part.to_ndarray(), dtype=np.float32).mean(axis=0)
            for part in self.resampler.resample(frame)
        ]


def _read_segments(container: InputContainer, sound: AudioStream, end: float) -> list[_Segment]:
    segments: list[_Segment] = []
    expected = 0.0
    for frame in decodable_frames(container, sound):
        if not frame.samples or not frame.sample_rate:
            continue
        time = expected if frame.time is None else float(frame.time)
        format_ = (frame.format.name, frame.layout.name, frame.sample_rate)
        is_apart = abs(time - expected) > MAX_JITTER_SECONDS
        if not segments or is_apart or format_ != segments[-1].format:
            if segments:
                segments[-1].add(None)
            segments.append(_Segment(time, format_))
        expected = time + frame.samples / frame.sample_rate
        segments[-1].add(frame)
        if expected >= end:
            break
    if segments:
        segments[-1].add(None)
    return segments


def _join(segments: list[_Segment], start: float, max_seconds: float) -> NDArray[np.float32] | None:
    """Return the segments on one time line that begins at `start`."""
    if not segments:
        return None
    limit = math.floor(max_seconds * AUDIO_RATE + 0.5)
    placed = [
        (round((segment.start - start) * AUDIO_RATE), np.concatenate(segment.parts))
        for segment in segments
        if segment.parts
    ]
    num_samples = max(0, min(limit, max((at + len(part) for at, part in placed), default=0)))
    waveform_S = np.zeros(num_samples, np.float32)
    for at, part in placed:
        begin, end = max(0, at), min(num_samples, at + len(part))
        if begin < end:
            waveform_S[begin:end] = part[begin - at : end - at]
    return np.clip(np.nan_to_num(waveform_S), -1.0, 1.0)
