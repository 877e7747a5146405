"""Broken files: their good part is decoded, or DecodeError is raised with a short reason."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evossl.data.decode.decoder import DecodeError, find_decoder, probe
from evossl.data.decode.sound import decode_sound

REASONS = {
    "empty": "empty file",
    "text": "not a video: text",
    "playlist": "not a video: text",
    "header only": "truncated: no readable frame",
    "first bytes": "truncated: no readable frame",
    "without index": "truncated: no index (moov)",
    "noise": "not a video, or damaged: no readable frame",
    "picture": "not a video: png",
    "sound only": "no video stream",
    "encrypted": "encrypted",
}


def reason(read: Callable[[], object]) -> str:
    with pytest.raises(DecodeError) as raised:
        read()
    return str(raised.value)


def test_each_broken_file_has_its_reason(broken_files: dict[str, Path]) -> None:
    assert {kind: reason(lambda p=path: probe(str(p))) for kind, path in broken_files.items()} == (
        REASONS
    )


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_decoders_give_the_same_reasons(broken_files: dict[str, Path], name: str) -> None:
    decoder = find_decoder(name)
    for kind, path in broken_files.items():
        assert reason(lambda p=path: decoder.frames(str(p), 12.0, 32, 9.0)) == REASONS[kind]


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason(lambda: probe(str(tmp_path / "none.mp4"))) == "no such file"
    assert reason(lambda: probe(str(tmp_path))) == "not a regular file"
    assert reason(lambda: probe(str(tmp_path / "pipe.mp4"))) == "not a regular file"


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_a_truncated_file_keeps_its_good_part(
    cut_video: Path, name: str, read_number: Callable[[NDArray[np.uint8]], int]
) -> None:
    frames = find_decoder(name).frames(str(cut_video), 24.0, 48, 30.0)
    assert 24 <= len(frames) < 96
    assert [read_number(frame) for frame in frames] == list(range(len(frames)))
    assert probe(str(cut_video)).seconds == pytest.approx(len(frames) / 24, abs=0.1)


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_a_hole_holds_the_nearest_good_frame(
    holed_video: Path, name: str, read_number: Callable[[NDArray[np.uint8]], int]
) -> None:
    frames = find_decoder(name).frames(str(holed_video), 24.0, 48, 30.0)
    expected = [*range(10), 9, 9, 9, 9, 9, 20, 20, 20, 20, 20, *range(20, 36)]  # 14.5 is half-way
    assert [read_number(frame) for frame in frames] == expected


def test_no_encrypted_file_is_decoded_to_noise(
    make_video: Callable[..., Path], encrypt: Callable[[Path, str], Path]
) -> None:
    """FFmpeg decodes some encrypted files to a frame of noise: about one in 25."""
    source = make_video("v.mp4", 24)
    for number in range(60):
        assert reason(lambda n=number: probe(str(encrypt(source, f"{n}.mp4")))) == "encrypted"


def test_truncated_sound_keeps_its_good_part(make_video: Callable[..., Path]) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)
    path = make_video("v.mp4", 96, sound=tone[None].astype(np.float32), faststart=True)
    os.truncate(path, int(path.stat().st_size * 0.7))
    waveform = decode_sound(str(path), 30.0)
    assert waveform is not None
    assert 8_000 < len(waveform) < 64_000
    assert np.abs(waveform[4_000:8_000]).max() == pytest.approx(0.5, abs=0.05)


def test_mutated_files_raise_nothing_but_decode_errors(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    sound = np.zeros((1, 16_000), np.float32)
    whole = make_video("v.mp4", 12, sound=sound, faststart=True).read_bytes()
    rng = np.random.default_rng(0)
    num_read, reasons = 0, set()
    for number in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data) if number % 2 else 2000, 6):
            data[at] = rng.integers(256)
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes(data[: rng.integers(1, len(data))] if number % 5 == 0 else data))
        try:
            probe(str(path))
            num_read += len(find_decoder("pyav").frames(str(path), 12.0, 32, 9.0)) > 0
            decode_sound(str(path), 9.0)
        except DecodeError as error:
            reasons.add(str(error))
    assert num_read > 10
    assert reasons
    assert all(len(text) < 80 for text in reasons)
