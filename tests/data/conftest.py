"""Small test videos, intact and broken; every frame shows its number."""

import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

CLOCK = 12_000  # ticks a second: holds 24, 25, 30 and 60 fps exactly
NUM_BITS = 8

MakeVideo = Callable[..., Path]


def numbered_frame(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image whose lowest third shows `number` in binary, in eight bars; white is 1."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    red, green = 60 + 100 * x + 40 * np.sin(7 * y), 70 + 110 * y
    frame = np.stack([red, green, 130 - 40 * x * y], axis=-1).astype(np.uint8)
    for bit in range(NUM_BITS):
        left, right = bit * width // NUM_BITS, (bit + 1) * width // NUM_BITS
        frame[height - height // 3 :, left:right] = 235 if number >> bit & 1 else 16
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """Return the number that an upright `numbered_frame` of any size shows."""
    height, width = frame.shape[:2]
    middle = [(2 * bit + 1) * width // (2 * NUM_BITS) for bit in range(NUM_BITS)]
    return sum((frame[height - height // 6, x].mean() > 125) << bit for bit, x in enumerate(middle))


def write_video(
    path: Path,
    num_frames: int = 24,
    fps: Fraction | int = 24,
    size: tuple[int, int] = (96, 64),
    *,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    sound: NDArray[np.float32] | None = None,
    sound_rate: int = 16_000,
    sound_start: float = 0.0,
    sound_hole: tuple[float, float] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sar: Fraction | None = None,
    bframes: int = 2,
    gop: int = 12,
    faststart: bool = False,
    draw: Callable[[int, tuple[int, int]], NDArray[np.uint8]] = numbered_frame,
) -> Path:
    """Write a video; the container follows the suffix. `sound` is (channels, samples).

    Audio packets that begin within `sound_hole` (seconds) are left out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if codec == "libx264":
            stream.options = {"crf": "14", "bf": str(bframes), "g": str(gop), "threads": "1"}
        clock = 1 / Fraction(fps) if path.suffix == ".avi" else Fraction(1, CLOCK)  # AVI: one rate
        stream.time_base = stream.codec_context.time_base = clock
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(rotation)
        track = None
        if sound is not None:
            layout = {1: "mono", 2: "stereo"}[len(sound)]
            track = container.add_stream("aac", rate=sound_rate, layout=layout)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw(number, size), format="rgb24")
            time = times[number] if times is not None else number / Fraction(fps)
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            samples = av.AudioFrame.from_ndarray(sound, format="fltp", layout=track.layout.name)
            samples.sample_rate, samples.time_base = sound_rate, Fraction(1, sound_rate)
            samples.pts = round(sound_start * sound_rate)
            for packet in [*track.encode(samples), *track.encode(None)]:
                begin, end = sound_hole or (0.0, 0.0)
                if not begin <= float((packet.pts or 0) * packet.time_base) < end:
                    container.mux(packet)
    return path


def write_sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=16_000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        samples.sample_rate = 16_000
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
    return path


def write_encrypted(path: Path, source: Path) -> Path:
    keys = {"encryption_key": "00" * 16, "encryption_kid": "11" * 16}
    options = {"encryption_scheme": "cenc-aes-ctr"} | keys
    with av.open(str(path), "w", options=options) as container, av.open(str(source)) as opened:
        copied = container.add_stream_from_template(opened.streams.video[0])
        for packet in opened.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                container.mux(packet)
    return path


def shift_edit_list(path: Path, frames: float, fps: int) -> Path:
    """Let the MP4's edit list begin `frames` later, as a cut without re-encoding does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    duration, start = struct.unpack(">Ii", data[at : at + 8])
    ticks = round(frames * CLOCK / fps)
    data[at : at + 8] = struct.pack(">Ii", duration - round(1000 * frames / fps), start + ticks)
    path.write_bytes(bytes(data))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """`make_video("a/b.mp4", num_frames=24, ...)` writes a video and returns its path."""

    def make(name: str = "video.mp4", *args: object, **options: object) -> Path:
        return write_video(tmp_path / name, *args, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def read_number() -> Callable[[NDArray[np.uint8]], int]:
    """Return the number that a frame of `make_video` shows."""
    return number_of


@pytest.fixture
def broken_files(tmp_path: Path) -> dict[str, Path]:
    """Files without a readable video, by what is wrong with them."""
    folder = tmp_path / "broken"
    whole = write_video(folder / "whole.mp4", 24, faststart=True).read_bytes()
    late = write_video(folder / "late.mp4", 24).read_bytes()  # index at the end
    header = whole[: whole.index(b"mdat") + 4]
    picture = av.VideoFrame.from_ndarray(numbered_frame(1, (96, 64)), format="rgb24")
    with av.open(str(folder / "picture.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "rgb24"
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    contents = {
        "empty": b"",
        "text": b"This is a note about a video.\n" * 20,
        "playlist": b"#EXTM3U\n#EXTINF:1,\nwhole.mp4\n#EXT-X-ENDLIST\n",
        "header only": header,
        "first bytes": whole[:40],
        "without index": late[: int(len(late) * 0.6)],
        "noise": np.random.default_rng(0).bytes(5000),
        "picture": (folder / "picture.png").read_bytes(),
    }
    files = {}
    for kind, content in contents.items():
        files[kind] = folder / f"{kind.replace(' ', '_')}.mp4"
        files[kind].write_bytes(content)
    files["sound only"] = write_sound_only(folder / "sound_only.mp4")
    files["encrypted"] = write_encrypted(folder / "encrypted.mp4", folder / "whole.mp4")
    for scrap in ("whole.mp4", "late.mp4", "picture.png"):
        (folder / scrap).unlink()
    return files


@pytest.fixture
def cut_video(tmp_path: Path) -> Path:
    """4 seconds at 24 fps, index at the start; the last 40 % of the bytes are missing."""
    path = write_video(tmp_path / "cut.mp4", 96, faststart=True, bframes=0)
    os.truncate(path, int(path.stat().st_size * 0.6))
    return path


@pytest.fixture
def holed_video(tmp_path: Path) -> Path:
    """1.5 s at 24 fps of key frames; the packets of frames 10 to 19 are zeros."""
    path = write_video(tmp_path / "holed.mp4", 36, gop=1, bframes=0)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in packets[10:20]:
            data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
        del packet, packets
    path.write_bytes(bytes(data))
    return path


@pytest.fixture
def encrypt(tmp_path: Path) -> Callable[[Path, str], Path]:
    """`encrypt(source, name)` writes an encrypted copy; each has its own random start."""
    return lambda source, name: write_encrypted(tmp_path / name, source)


@pytest.fixture
def cut_in_front() -> Callable[[Path, float, int], Path]:
    """`cut_in_front(path, frames, fps)` shifts the start of the edit list."""
    return shift_edit_list
