"""Opening video files with PyAV: what is refused and why, and the frames that can be read.

FFmpeg is shown local regular files only: a text file could be a playlist that makes it open others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from evossl.errors import RunError

MAX_BAD_PACKETS = 100  # in a row; after so many nothing good is expected
NOT_VIDEO_FORMATS = {"hls", "concat", "dash", "sdp", "tty", "image2"}
SNIFFED_BYTES = 4096


class DecodeError(RunError):
    """A file cannot be decoded; the message is a short reason without the path."""


@dataclass(frozen=True)
class Layout:
    """How frames are to be shown.

    Attributes:
        width: pixels as displayed: pixel aspect applied, then rotation.
        height: likewise.
        quarter_turns: counter-clockwise, 0 to 3.
    """

    width: int
    height: int
    quarter_turns: int

    @property
    def is_sideways(self) -> bool:
        """Width and height change places when shown."""
        return self.quarter_turns % 2 == 1


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a local file and its first video stream (cover pictures do not count).

    Raises:
        DecodeError: nothing to decode, with the reason.
    """
    sniff(path)
    options = {"protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", metadata_errors="replace", options=options) as container:
            if not container.streams:
                raise DecodeError(why_unreadable(path))
            yield container, _video_stream(container)
    except FFmpegError as error:
        raise DecodeError(why_unreadable(path)) from error


def sniff(path: str) -> None:
    """Refuse what is no regular file, empty or text, before FFmpeg sees it.

    Raises:
        DecodeError: with the reason.
    """
    file = Path(path)
    try:
        if not file.exists():
            raise DecodeError("no such file")
        if not file.is_file():
            raise DecodeError("not a regular file")
        with file.open("rb") as opened:
            head = opened.read(SNIFFED_BYTES)
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror}") from error
    if not head:
        raise DecodeError("empty file")
    if _is_text(head):
        raise DecodeError("not a video: text")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else the last character may be cut
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\n\r\f" for char in text)


def why_unreadable(path: str) -> str:
    """Return the reason why no frame of a file could be read."""
    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(1 << 20)
        opened.seek(max(0, file.stat().st_size - (1 << 22)))
        ends = head + opened.read()
    if b"encv" in ends or b"pssh" in ends:
        return "encrypted"
    if head[4:8] == b"ftyp" and b"moov" not in ends:
        return "truncated: no index (moov)"
    if head[4:8] == b"ftyp":
        return "truncated: no readable frame"
    return "not a video, or damaged: no readable frame"


def _video_stream(container: InputContainer) -> VideoStream:
    name = container.format.name
    if name in NOT_VIDEO_FORMATS or name.endswith("_pipe"):
        raise DecodeError(f"not a video: {name.removesuffix('_pipe')}")
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise DecodeError("no video stream")
    if streams[0].codec_context is None:
        raise DecodeError("no decoder for its codec")
    streams[0].thread_count = 1  # parallel over files, not within one
    return streams[0]


@overload
def good_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]: ...
@overload
def good_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]: ...
def good_frames(container: InputContainer, stream: Any) -> Iterator[Any]:
    """Yield the frames that can be decoded, in presentation order; what is broken is passed over.

    A file that breaks halfway keeps its good part.
    """
    num_bad = 0
    try:
        for packet in container.demux(stream):
            if packet.has_sidedata("encryption_info"):
                return
            try:
                frames = packet.decode()
            except FFmpegError:
                num_bad += 1
                if num_bad > MAX_BAD_PACKETS:
                    return
                continue
            num_bad = 0
            yield from (frame for frame in frames if not frame.is_corrupt)
    except FFmpegError:
        return  # the container breaks here


def timed_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield (seconds on the container's clock, frame), strictly ascending in time.

    Where a file gives no time, or one that goes back, frames follow at the stream's rate.
    """
    step = 1.0 / rate_of(stream)
    last = None
    for frame in good_frames(container, stream):
        time = frame.time
        if time is None or (last is not None and time <= last):
            time = 0.0 if last is None else last + step
        last = float(time)
        yield last, frame


def rate_of(stream: VideoStream) -> float:
    """Return the stream's frames a second; 25 where the file says nothing that makes sense."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and rate.denominator and 0.01 <= float(rate) <= 1000:
            return float(rate)
    return 25.0


def layout_of(frame: VideoFrame, stream: VideoStream) -> Layout:
    """Return how the frame is to be shown: its pixel aspect (1/4 to 4) and rotation (in 90s)."""
    aspect = stream.sample_aspect_ratio
    sar = float(aspect) if aspect is not None and 0.25 <= float(aspect) <= 4 else 1.0
    width, height = max(1, round(frame.width * sar)), frame.height
    turns = round(frame.rotation / 90) % 4
    return Layout(height, width, turns) if turns % 2 else Layout(width, height, turns)
