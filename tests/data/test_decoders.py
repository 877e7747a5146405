"""Both decoders: selected frames, sizes and rotations are right, and the two agree."""

import platform
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evossl.data.decode import decord_decoder
from evossl.data.decode.decoder import DecodeError, Decoder, default_decoder, find_decoder, probe
from evossl.errors import UserError

HAS_DECORD = sys.platform == "linux" and platform.machine() == "x86_64"
NAMES = ["pyav", pytest.param("decord", marks=pytest.mark.skipif(not HAS_DECORD, reason="none"))]

Number = Callable[[NDArray[np.uint8]], int]
MakeVideo = Callable[..., Path]


@pytest.fixture(params=NAMES)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return find_decoder(request.param)


def expected_numbers(times: list[float], fps: float, max_seconds: float = 30.0) -> list[int]:
    """Compute by loops: the duration up to the last frame's end, then the nearest frames."""
    gaps = sorted(b - a for a, b in pairwise(times))
    last = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2 if gaps else 0.0
    duration = min(times[-1] - times[0] + last, max_seconds)
    num = max(1, int(duration * fps + 0.5))
    chosen = []
    for i in range(num):
        distances = [round(abs(t - times[0] - i / fps), 3) for t in times]
        chosen.append(distances.index(min(distances)))
    return chosen


def numbers(decoder: Decoder, path: Path, fps: float, read_number: Number) -> list[int]:
    return [read_number(frame) for frame in decoder.frames(str(path), fps, 48, 30.0)]


@pytest.mark.parametrize(
    "fps", [24, 25, Fraction(30_000, 1001), 30, 60, 12, 10, 5], ids=lambda fps: f"{float(fps):.4g}"
)
@pytest.mark.parametrize("bframes", [0, 3])
def test_each_time_gets_its_nearest_frame(
    decoder: Decoder, make_video: MakeVideo, read_number: Number, fps: Fraction, bframes: int
) -> None:
    path = make_video("v.mp4", 40, fps, bframes=bframes)
    times = [float(i / Fraction(fps)) for i in range(40)]
    assert numbers(decoder, path, 12.0, read_number) == expected_numbers(times, 12.0)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_of_variable_rate_are_selected_by_time(
    decoder: Decoder, make_video: MakeVideo, read_number: Number, suffix: str
) -> None:
    gaps = np.random.default_rng(3).integers(1, 30, 49) / 100 + 0.003
    times = [0.0, *np.cumsum(gaps).tolist()]
    path = make_video(f"v.{suffix}", 50, 30, times=times)
    assert numbers(decoder, path, 12.0, read_number) == expected_numbers(times, 12.0)


def test_a_late_first_frame_is_time_zero(
    decoder: Decoder, make_video: MakeVideo, read_number: Number
) -> None:
    path = make_video("v.mp4", 24, 24, times=[0.75 + i / 24 for i in range(24)])
    assert numbers(decoder, path, 12.0, read_number) == list(range(0, 24, 2))


@pytest.mark.parametrize("cut", [6, 12, 17])
def test_frames_before_an_edit_list_are_not_shown(
    decoder: Decoder, make_video: MakeVideo, read_number: Number, cut: int, cut_in_front: MakeVideo
) -> None:
    path = cut_in_front(make_video("v.mp4", 36, 24), cut, 24)
    shown = numbers(decoder, path, 24.0, read_number)
    assert shown == list(range(cut, cut + len(shown)))
    assert len(shown) >= 36 - cut - 1


@pytest.mark.parametrize("rotation", [90, 180, -90])
@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_rotation_is_undone(
    decoder: Decoder, make_video: MakeVideo, rotation: int, size: tuple[int, int]
) -> None:
    upright = decoder.frames(str(make_video("a.mp4", 4, 24, size)), 24.0, 64, 30.0)
    path = make_video("b.mp4", 4, 24, size, rotation=rotation)
    turned = decoder.frames(str(path), 24.0, 64, 30.0)
    expected = np.rot90(upright, rotation // 90, axes=(1, 2))  # positive: counter-clockwise
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).mean() < 2
    assert (probe(str(path)).width, probe(str(path)).height) == turned.shape[2:0:-1]


def test_pixel_aspect_is_applied(decoder: Decoder, make_video: MakeVideo) -> None:
    path = make_video("v.mp4", 3, 24, (96, 96), sar=Fraction(16, 11))
    assert decoder.frames(str(path), 24.0, 44, 30.0).shape == (3, 44, 64, 3)
    assert (probe(str(path)).width, probe(str(path)).height) == (140, 96)  # 96 * 16 / 11 = 139.6


@pytest.mark.parametrize("size", [(97, 65), (65, 97), (81, 80)])
def test_odd_sizes_are_read_whole(
    decoder: Decoder, make_video: MakeVideo, size: tuple[int, int]
) -> None:
    path = make_video("v.mp4", 4, 24, size, pix_fmt="yuv444p")
    assert decoder.frames(str(path), 24.0, min(size), 30.0).shape == (4, size[1], size[0], 3)


@pytest.mark.parametrize("size", [(320, 64), (64, 320)])
def test_long_frames_keep_their_centre(
    decoder: Decoder, make_video: MakeVideo, size: tuple[int, int]
) -> None:
    def step(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        frame = np.full((size[1], size[0], 3), 30, np.uint8)
        frame[size[1] // 2 - 32 : size[1] // 2 + 32, size[0] // 2 - 32 : size[0] // 2 + 32] = 220
        return frame

    frames = decoder.frames(str(make_video("v.mp4", 2, 24, size, draw=step)), 24.0, 32, 30.0)
    assert sorted(frames.shape[1:3]) == [32, 64]
    bright = np.argwhere(frames[0, ..., 1] > 125)
    assert (bright.min(0) + bright.max(0) + 1).tolist() == list(frames.shape[1:3])


def test_pixels_are_those_of_an_antialiased_bilinear_resize(
    decoder: Decoder, make_video: MakeVideo
) -> None:
    path = make_video("v.mp4", 3, 24, (192, 128), pix_fmt="yuv444p")
    with av.open(str(path)) as container:
        full = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    tensor = torch.from_numpy(full).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(
        tensor, size=(48, 72), mode="bilinear", antialias=True, align_corners=False
    )
    frames = decoder.frames(str(path), 24.0, 48, 30.0)
    assert np.abs(frames - resized.permute(0, 2, 3, 1).numpy()).mean() < 1


@pytest.mark.skipif(not HAS_DECORD, reason="decord is for x86-64 Linux")
@pytest.mark.parametrize(
    "options",
    [
        {"fps": 30},
        {"rotation": 90},
        {"rotation": -90},
        {"size": (128, 72)},
        {"sar": Fraction(4, 3)},
    ],
    ids=str,
)
def test_decoders_agree_on_pixels(make_video: MakeVideo, options: dict[str, object]) -> None:
    path = str(make_video("v.mp4", 30, **options))
    ours, theirs = (find_decoder(n).frames(path, 12.0, 40, 30.0) for n in ("pyav", "decord"))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 1


@pytest.mark.skipif(not HAS_DECORD, reason="decord is for x86-64 Linux")
def test_decoders_agree_on_real_clips(surveillance_clips: Path) -> None:
    clips = sorted(surveillance_clips.rglob("*.mp4"))[::10]
    assert clips
    for path in clips:
        ours, theirs = (find_decoder(n).frames(str(path), 12, 80, 1) for n in ("pyav", "decord"))
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs).mean((1, 2, 3)).max() < 1, path


def test_decord_does_not_fall_back_on_ordinary_files(
    make_video: MakeVideo, monkeypatch: object
) -> None:
    """Otherwise the tests above would compare PyAV with itself."""
    if not HAS_DECORD:
        pytest.skip("decord is for x86-64 Linux")

    def refuse(*_: object) -> None:
        raise AssertionError("fell back")

    monkeypatch.setattr(decord_decoder.PyAVDecoder, "frames", refuse)  # type: ignore[attr-defined]
    for options in ({}, {"rotation": 90}, {"fps": 60}, {"sar": Fraction(4, 3)}):
        path = make_video("v.mp4", 10, **options)
        assert len(find_decoder("decord").frames(str(path), 12.0, 40, 30.0))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.avi", "mpeg4"), ("v.webm", "libvpx"), ("v.ts", "libx264"), ("v.mp4", "libx265")],
)
def test_other_containers_and_codecs(
    decoder: Decoder, make_video: MakeVideo, read_number: Number, name: str, codec: str
) -> None:
    path = make_video(name, 48, 24, codec=codec)
    assert numbers(decoder, path, 12.0, read_number) == list(range(0, 48, 2))
    found = probe(str(path))
    assert found.seconds == pytest.approx(2.0, abs=0.05)
    assert found.num_frames == 48
    assert found.fps == pytest.approx(24, rel=0.03)


def test_max_seconds_bounds_the_frames(decoder: Decoder, make_video: MakeVideo) -> None:
    assert len(decoder.frames(str(make_video("v.mp4", 60, 24)), 12.0, 32, 1.0)) == 12


def test_one_frame_is_a_video(decoder: Decoder, make_video: MakeVideo) -> None:
    path = make_video("v.mp4", 1)
    assert len(decoder.frames(str(path), 12.0, 32, 30.0)) == 1
    assert probe(str(path)).num_frames == 1


def test_the_probe_reads_the_sound_track(make_video: MakeVideo) -> None:
    sound = np.zeros((2, 44_100), np.float32)
    found = probe(str(make_video("v.mp4", 24, sound=sound, sound_rate=44_100)))
    assert (found.codec, found.audio_codec, found.audio_rate) == ("h264", "aac", 44_100)
    silent = probe(str(make_video("w.mp4", 24)))
    assert (silent.audio_codec, silent.audio_rate) == (None, None)


def test_unknown_decoder_names_the_nearest() -> None:
    with pytest.raises(UserError, match="decord"):
        find_decoder("decrod")


def test_decord_is_the_default_only_on_x86_64_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_decoder().name == ("decord" if HAS_DECORD else "pyav")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert default_decoder().name == "pyav"


def test_a_path_is_never_read_as_a_url(decoder: Decoder, make_video: MakeVideo) -> None:
    path = make_video("http:/clip%03d:1.mp4", 3)
    assert len(decoder.frames(str(path), 24.0, 32, 30.0)) == 3
    with pytest.raises(DecodeError, match="no such file"):
        probe("http://127.0.0.1:1/clip.mp4")
