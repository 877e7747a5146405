"""Decoders behind one protocol, tested to agree; and the probe that knows a readable file.

Shapes: T frame kept, H height, W width, C channel.
"""

import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    good_frames,
    layout_of,
    open_video,
    rate_of,
    why_unreadable,
)
from evossl.errors import UserError, unknown

__all__ = ["DecodeError", "Decoder", "Probe", "default_decoder", "find_decoder", "probe"]

DECODERS = ("decord", "pyav")


@dataclass(frozen=True)
class Probe:
    """What a file says of itself.

    Attributes:
        seconds: of the video stream; of a cut MP4, the part that is there.
        fps: average frames a second.
        num_frames: coded frames.
        width: pixels as displayed: pixel aspect and rotation applied.
        height: likewise.
        codec: of the video, FFmpeg's name ("h264").
        audio_codec: None without sound.
        audio_rate: Hz; None without sound.
    """

    seconds: float
    fps: float
    num_frames: int
    width: int
    height: int
    codec: str
    audio_codec: str | None
    audio_rate: int | None


class Decoder(Protocol):
    """Reads a video's pixels."""

    name: str

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC, RGB.

        Frame i is the one presented nearest to i / fps after the first frame;
        T = max(1, round(duration * fps)) up to `max_seconds`. The short side is `short_side`, the
        long one keeps the aspect (antialiased bilinear), is cropped in the centre to at most 2:1.
        Rotation (in quarter turns) and pixel aspect ratio are applied. A file that breaks halfway
        keeps its good part.

        Raises:
            DecodeError: no frame can be read.
        """
        ...


def default_decoder() -> Decoder:
    """Return decord on x86-64 Linux where it is installed, else PyAV."""
    is_home = sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")
    has_decord = importlib.util.find_spec("decord") is not None
    return find_decoder("decord" if is_home and has_decord else "pyav")


def find_decoder(name: str) -> Decoder:
    """Return the decoder of that name: "decord" or "pyav".

    Raises:
        UserError: unknown name, or decord is not installed.
    """
    if name == "pyav":
        from evossl.data.decode.pyav_decoder import PyAVDecoder

        return PyAVDecoder()
    if name == "decord":
        if importlib.util.find_spec("decord") is None:
            raise UserError("decoder 'decord' is not installed here; use 'pyav'")
        from evossl.data.decode.decord_decoder import DecordDecoder

        return DecordDecoder()
    raise UserError(unknown("decoder", name, DECODERS))


def probe(path: str) -> Probe:
    """Return what a local file says of itself, after one frame of it has been decoded.

    Raises:
        DecodeError: no frame can be read, with the reason.
    """
    with open_video(path) as (container, stream):
        seconds, num_frames = _length(path, stream)
        first = next(good_frames(container, stream), None)
        if first is None:
            raise DecodeError(why_unreadable(path))
        layout = layout_of(first, stream)
        sounds = [sound for sound in container.streams.audio if sound.codec_context is not None]
        return Probe(
            seconds=seconds,
            fps=rate_of(stream),
            num_frames=num_frames,
            width=layout.width,
            height=layout.height,
            codec=stream.codec_context.name,
            audio_codec=sounds[0].codec_context.name if sounds else None,
            audio_rate=sounds[0].codec_context.sample_rate if sounds else None,
        )


def _length(path: str, stream: VideoStream) -> tuple[float, int]:
    """Return (seconds, coded frames), by the header where it has them, else by reading packets."""
    if stream.frames > 0 and stream.duration and stream.duration > 0 and stream.time_base:
        share = _share_present(path, stream)
        seconds = float(stream.duration * stream.time_base) * share
        return seconds, max(1, round(stream.frames * share))
    with open_video(path) as (again, packets):
        times = list(_packet_times(again, packets))
    known = [time for time in times if time is not None]
    span = max(known) - min(known) if known else 0.0
    num_frames = max(1, len(times))
    if span <= 0:
        return num_frames / rate_of(stream), num_frames
    return span * (1 + 1 / (len(known) - 1)), num_frames


def _packet_times(container: InputContainer, stream: VideoStream) -> Iterator[float | None]:
    """Yield each packet's time in seconds, up to where the container breaks."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield None if packet.pts is None else float(packet.pts * packet.time_base)
    except FFmpegError:
        return


def _share_present(path: str, stream: VideoStream) -> float:
    """Return the share of the coded frames that lie inside the file: below 1 where it is cut."""
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    size = Path(path).stat().st_size
    num_inside = sum(end <= size for end in ends)
    return num_inside / len(ends) if ends and num_inside else 1.0
