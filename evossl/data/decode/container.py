"""Open video files with PyAV: refuse what is no video, with the reason; iterate readable frames.

FFmpeg only opens local regular files that are not text: a text file could be a playlist that makes
it open other files.
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

MAX_BAD_PACKETS = 100  # in a row, after which the rest of the file is given up
NOT_VIDEO_FORMATS = {"hls", "concat", "dash", "sdp", "tty", "image2"}
HEADER_BYTES = 4096  # read to recognise text


class DecodeError(RunError):
    """A file cannot be decoded; the message is a short reason without the path."""


@dataclass(frozen=True)
class DisplayLayout:
    """The size and rotation at which frames are displayed.

    Attributes:
        width: displayed pixels, after applying the pixel aspect ratio and the rotation.
        height: likewise.
        quarter_turns: rotation counter-clockwise, 0 to 3.
    """

    width: int
    height: int
    quarter_turns: int

    @property
    def is_sideways(self) -> bool:
        """Whether the rotation swaps width and height."""
        return self.quarter_turns % 2 == 1


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a local file and its first video stream; cover pictures are skipped.

    Raises:
        DecodeError: there is no video in the file; the message is the reason.
    """
    refuse_non_video(path)
    options = {"protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", metadata_errors="replace", options=options) as container:
            if not container.streams:
                raise DecodeError(unreadable_reason(path))
            yield container, _video_stream(container)
    except FFmpegError as error:
        raise DecodeError(unreadable_reason(path)) from error


def refuse_non_video(path: str) -> None:
    """Refuse a file that FFmpeg must not open: not a regular file, empty, or text.

    Raises:
        DecodeError: the message is the reason.
    """
    file = Path(path)
    try:
        if not file.exists():
            raise DecodeError("no such file")
        if not file.is_file():
            raise DecodeError("not a regular file")
        with file.open("rb") as opened:
            head = opened.read(HEADER_BYTES)
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
        if error.start < len(head) - 3:  # otherwise the last character is cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\n\r\f" for char in text)


def unreadable_reason(path: str) -> str:
    """Return why no frame of a file could be read."""
    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(1 << 20)
        opened.seek(max(0, file.stat().st_size - (1 << 22)))
        head_and_tail = head + opened.read()
    if b"encv" in head_and_tail or b"pssh" in head_and_tail:
        return "encrypted"
    if head[4:8] == b"ftyp" and b"moov" not in head_and_tail:
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
    streams[0].thread_count = 1  # files are decoded in parallel instead
    return streams[0]


@overload
def decodable_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]: ...
@overload
def decodable_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]: ...
def decodable_frames(container: InputContainer, stream: Any) -> Iterator[Any]:
    """Yield the frames that can be decoded, in presentation order; broken packets are skipped.

    Of a file that is damaged from some point on, the part before it is decoded.
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
        return  # the container is damaged from here on


def timed_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield (time in the container in seconds, frame), strictly ascending in time.

    A frame without a time, or with one that goes back, follows the last one at the stream's rate.
    """
    step = 1.0 / frame_rate(stream)
    last = None
    for frame in decodable_frames(container, stream):
        time = frame.time
        if time is None or (last is not None and time <= last):
            time = 0.0 if last is None else last + step
        last = float(time)
        yield last, frame


def frame_rate(stream: VideoStream) -> float:
    """Return the stream's frames per second; 25 if the file gives no plausible rate."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and rate.denominator and 0.01 <= float(rate) <= 1000:
            return float(rate)
    return 25.0


def display_layout(frame: VideoFrame, stream: VideoStream) -> DisplayLayout:
    """Return how the frame is displayed.

    A pixel aspect ratio outside 1/4 to 4 is ignored; the rotation is rounded to quarter turns.
    """
    aspect = stream.sample_aspect_ratio
    sar = float(aspect) if aspect is not None and 0.25 <= float(aspect) <= 4 else 1.0
    width, height = max(1, round(frame.width * sar)), frame.height
    turns = round(frame.rotation / 90) % 4
    return DisplayLayout(*((height, width) if turns % 2 else (width, height)), turns)
