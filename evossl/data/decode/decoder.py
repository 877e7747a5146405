"""The decoder protocol and its implementations by name; the probe that checks a file.

Shapes: T selected frame, H height, W width, C channel.
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
    decodable_frames,
    display_layout,
    frame_rate,
    open_video,
    unreadable_reason,
)
from evossl.errors import UserError, unknown

__all__ = ["DecodeError", "Decoder", "Probe", "default_decoder", "find_decoder", "probe"]

DECODERS = ("decord", "pyav")


@dataclass(frozen=True)
class Probe:
    """The properties of a video file.

    Attributes:
        seconds: length of the video stream; of a truncated MP4, of the part that is present.
        fps: average frames per second.
        num_frames: coded frames.
        width: displayed pixels, after applying the pixel aspect ratio and the rotation.
        height: likewise.
        codec: of the video, in FFmpeg's terms ("h264").
        audio_codec: likewise; None without an audio track.
        audio_rate: in Hz; None without an audio track.
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
    """Decodes the frames of a video at a given rate and size."""

    name: str

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC, RGB.

        Frame i is the one presented nearest to i / fps seconds after the first frame;
        T = max(1, round(duration * fps)), with the duration limited to `max_seconds`. Frames are
        scaled (antialiased bilinear) so that the short side has `short_side` pixels, and the long
        side is cropped in the centre to at most twice as many. Rotation (in quarter turns) and
        pixel aspect ratio are applied. Of a file that is damaged from some point on, the part
        before it is decoded.

        Raises:
            DecodeError: no frame can be decoded.
        """
        ...


def default_decoder() -> Decoder:
    """Return decord if it is installed on x86-64 Linux, otherwise PyAV."""
    is_supported = sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")
    has_decord = importlib.util.find_spec("decord") is not None
    return find_decoder("decord" if is_supported and has_decord else "pyav")


def find_decoder(name: str) -> Decoder:
    """Return the decoder with this name: "decord" or "pyav".

    Raises:
        UserError: unknown name, or decord is not installed.
    """
    if name == "pyav":
        from evossl.data.decode.pyav_decoder import PyAVDecoder

        return PyAVDecoder()
    if name == "decord":
        if importlib.util.find_spec("decord") is None:
            raise UserError("decoder 'decord' is not installed; install decord, or use 'pyav'")
        from evossl.data.decode.decord_decoder import DecordDecoder

        return DecordDecoder()
    raise UserError(unknown("decoder", name, DECODERS))


def probe(path: str) -> Probe:
    """Return the properties of a local video file, after decoding one frame of it.

    Raises:
        DecodeError: no frame can be decoded; the message is the reason.
    """
    with open_video(path) as (container, stream):
        seconds, num_frames = _length(path, stream)
        first = next(decodable_frames(container, stream), None)
        if first is None:
            raise DecodeError(unreadable_reason(path))
        layout = display_layout(first, stream)
        sounds = [sound for sound in container.streams.audio if sound.codec_context is not None]
        return Probe(
            seconds=seconds,
            fps=frame_rate(stream),
            num_frames=num_frames,
            width=layout.width,
            height=layout.height,
            codec=stream.codec_context.name,
            audio_codec=sounds[0].codec_context.name if sounds else None,
            audio_rate=sounds[0].codec_context.sample_rate if sounds else None,
        )


def _length(path: str, stream: VideoStream) -> tuple[float, int]:
    """Return (seconds, coded frames) from the header, or from the packets if it has no length."""
    if stream.frames > 0 and stream.duration and stream.duration > 0 and stream.time_base:
        fraction = _fraction_present(path, stream)
        seconds = float(stream.duration * stream.time_base) * fraction
        return seconds, max(1, round(stream.frames * fraction))
    with open_video(path) as (container, packets):
        times = list(_packet_times(container, packets))
    known = [time for time in times if time is not None]
    span = max(known) - min(known) if known else 0.0
    num_frames = max(1, len(times))
    if span <= 0:
        return num_frames / frame_rate(stream), num_frames
    return span * (1 + 1 / (len(known) - 1)), num_frames


def _packet_times(container: InputContainer, stream: VideoStream) -> Iterator[float | None]:
    """Yield the time of each packet in seconds, up to where the container is damaged."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield None if packet.pts is None else float(packet.pts * packet.time_base)
    except FFmpegError:
        return


def _fraction_present(path: str, stream: VideoStream) -> float:
    """Return the fraction of the coded frames inside the file: below 1 if it is truncated."""
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    size = Path(path).stat().st_size
    num_inside = sum(end <= size for end in ends)
    return num_inside / len(ends) if ends and num_inside else 1.0
