"""The index: one row for every file, whatever is wrong with it; no file is probed twice."""

import errno
import os
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from evossl.data.index import index as index_module
from evossl.data.index.index import Index, build_index, load_index
from evossl.errors import RunError, UserError
from tests.helpers.clip_files import write_video

REAL = os.environ.get("EVOSSL_REAL_VIDEOS")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        write_video(folder / "long.mp4", frames=48, sound=4.0),
        write_video(folder / "mute.mp4", frames=24, seed=1),
        write_video(folder / "short.mkv", frames=12, seed=2, sound=1.0),
        write_video(folder / "old.avi", frames=12, seed=3),
    ]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that lists the probed videos; the probe does what the name of a video says."""
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("EVOSSL_TEST_NOTES", str(path))
    monkeypatch.setattr(index_module, "PROBE_JOB", "tests.helpers.misbehaving_jobs:note_and_probe")
    return path


def probed(notes: Path) -> list[str]:
    lines = sorted(notes.read_text(encoding="utf-8").split())
    notes.write_text("", encoding="utf-8")
    return lines


def touch(root: Path, *names: str) -> None:
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).write_bytes(b"x")


def reasons(index: Index) -> dict[str, str]:
    return {Path(path).name: reason for path, reason in index.quarantined}


def test_the_index_has_the_properties_of_the_file(clips: list[Path]) -> None:
    long, mute, _, _ = clips
    index = build_index(str(long.parent), workers=1)
    videos = {Path(video.path).name: video for video in index.videos}
    assert len(index.videos) == 4
    got = videos["long.mp4"]
    assert (got.num_frames, got.fps, got.width, got.height) == (48, 12, 64, 48)
    assert (got.seconds, got.has_audio, got.label) == (pytest.approx(4.0), True, None)
    assert (got.group, got.bytes) == ("long.mp4", long.stat().st_size)
    assert got.mtime_ns == long.stat().st_mtime_ns
    assert not videos[mute.name].has_audio
    row = next(row for row in index.table.to_pylist() if row["path"] == str(long))
    assert (row["codec"], row["audio_codec"], row["audio_rate"]) == ("h264", "aac", 16_000)


def test_every_unreadable_file_is_quarantined_with_its_reason(
    tmp_path: Path, clips: list[Path]
) -> None:
    whole = clips[0].read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n", encoding="utf-8")
    (tmp_path / "header.mp4").write_bytes(whole[:64])
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "good.mp4").write_bytes(whole)
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / os.fsdecode(b"name\xff.mp4")).symlink_to(tmp_path / "good.mp4")
    index = build_index(str(tmp_path), workers=1)
    assert [Path(video.path).name for video in index.videos] == ["good.mp4"]
    got = reasons(index)
    assert got.keys() == {
        "empty.mp4", "text.mp4", "header.mp4", "noise.mp4", "gone.mp4", "pipe.mp4", "name\\xff.mp4",
    }  # fmt: skip
    assert got["empty.mp4"] == "empty"
    assert got["pipe.mp4"] == "not a regular file"
    assert got["gone.mp4"].startswith("missing")
    assert got["name\\xff.mp4"].startswith("unreadable name")
    assert all(got.values())
    assert index.summary().startswith("1 video, 7 set aside: ")
    assert "1 empty" in index.summary()


def test_hangs_and_crashes_do_not_stop_the_index(tmp_path: Path, notes: Path) -> None:
    videos = tmp_path / "v"
    touch(videos, "a.mp4", "b.mp4", "hang_1.mp4", "exit_1.mp4", "bad_1.mp4", "bad_2.mp4")
    index = build_index(str(videos), workers=1, deadline=0.5)
    assert reasons(index) == {
        "hang_1.mp4": "no answer within 0.5 s",
        "exit_1.mp4": "killed the decoder: exit code 7",
        "bad_1.mp4": "broken: on purpose",
        "bad_2.mp4": "broken: on purpose",
    }
    assert len(index.videos) == 2
    assert index.summary().startswith("2 videos, 4 set aside: 2 broken, 1 ")


def test_a_second_run_probes_changed_and_retryable_files(tmp_path: Path, notes: Path) -> None:
    videos, out = tmp_path / "v", tmp_path / "manifest.parquet"
    touch(videos, "a.mp4", "b.mp4", "bad_1.mp4", "exit_1.mp4", "leaves.mp4")
    first = build_index(str(videos), out, workers=1)
    assert probed(notes) == ["a.mp4", "b.mp4", "bad_1.mp4", "exit_1.mp4", "leaves.mp4"]
    again = build_index(str(videos), out, workers=1)
    assert probed(notes) == ["exit_1.mp4"]
    assert again.table.equals(first.table)

    os.utime(videos / "a.mp4", ns=(1, 1))
    (videos / "b.mp4").write_bytes(b"longer")
    os.utime(videos / "b.mp4", ns=(first.videos[1].mtime_ns,) * 2)
    (videos / "leaves.mp4").unlink()
    touch(videos, "new.mp4")
    third = build_index(str(videos), out, workers=1)
    assert probed(notes) == ["a.mp4", "b.mp4", "exit_1.mp4", "new.mp4"]
    assert [Path(video.path).name for video in third.videos] == ["a.mp4", "b.mp4", "new.mp4"]
    assert load_index(out).table.equals(third.table)


def test_an_index_as_the_source_is_not_probed_again(tmp_path: Path, notes: Path) -> None:
    videos, out = tmp_path / "v", tmp_path / "manifest.parquet"
    touch(videos, "a.mp4", "b.mp4", "bad_1.mp4")
    first = build_index(str(videos), out, workers=1)
    probed(notes)
    assert build_index(str(out), workers=1).table.equals(first.table)
    assert probed(notes) == []


def test_an_index_of_another_format_is_refused_and_not_reused(tmp_path: Path, notes: Path) -> None:
    videos, out = tmp_path / "v", tmp_path / "manifest.parquet"
    touch(videos, "a.mp4")
    table = build_index(str(videos), out, workers=1).table
    for metadata, message in (
        ({"evossl.index": "1"}, "an index of format 1, .* create it again with `evossl index"),
        ({}, "not an index; create one with `evossl index"),
    ):
        probed(notes)
        pa.parquet.write_table(table.replace_schema_metadata(metadata), out)
        with pytest.raises(UserError, match=message):
            load_index(out)
        build_index(str(videos), out, workers=1)
        assert probed(notes) == ["a.mp4"]


def test_labels_come_from_any_column_of_the_manifest(tmp_path: Path, notes: Path) -> None:
    touch(tmp_path, "a.mp4", "bad_1.mp4", "b.mp4")
    rows = {"path": ["b.mp4", "bad_1.mp4", "a.mp4"], "motion": ["up", "up", "down"]}
    pa.parquet.write_table(pa.table({**rows, "seconds": [9, 9, 9]}), tmp_path / "labels.parquet")
    index = build_index(str(tmp_path / "labels.parquet"), tmp_path / "out.parquet", workers=1)
    assert index.labels("motion") == ["up", "down"]
    assert load_index(tmp_path / "out.parquet").labels("motion") == ["up", "down"]
    assert index.videos[0].seconds == 1.0  # from the probe, not from the manifest
    for missing in ("appearance", "label", "codec"):
        with pytest.raises(UserError, match=f"unknown label column '{missing}'.*group, motion"):
            index.labels(missing)


def test_an_index_without_readable_videos_is_an_error(tmp_path: Path, notes: Path) -> None:
    videos, out = tmp_path / "v", tmp_path / "manifest.parquet"
    touch(videos, "bad_1.mp4", "bad_2.mp4")
    with pytest.raises(RunError, match="no video can be read: 0 videos, 2 set aside: 2 broken"):
        build_index(str(videos), out, workers=1)
    assert len(load_index(out).quarantined) == 2


def test_progress_counts_up_to_all_files(tmp_path: Path, notes: Path) -> None:
    videos, out = tmp_path / "v", tmp_path / "manifest.parquet"
    touch(videos, "a.mp4", "b.mp4", "bad_1.mp4")
    seen: list[tuple[int, int]] = []
    build_index(
        str(videos), out, workers=1, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_full_disk_leaves_the_old_manifest_whole(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, out = tmp_path / "v", tmp_path / "out" / "manifest.parquet"
    touch(videos, "a.mp4")
    build_index(str(videos), out, workers=1)
    before = out.read_bytes()
    touch(videos, "b.mp4")

    def write_half(table: pa.Table, file) -> None:
        file.write(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", write_half)
    with pytest.raises(RunError, match=r"manifest\.parquet: the disk is full"):
        build_index(str(videos), out, workers=1)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_an_out_folder_that_cannot_be_created_is_named(tmp_path: Path, notes: Path) -> None:
    videos = tmp_path / "v"
    touch(videos, "a.mp4")
    with pytest.raises(RunError, match=r"a.mp4/m.parquet: cannot be written"):
        build_index(str(videos), videos / "a.mp4" / "m.parquet", workers=1)


def test_remote_files_are_fetched_and_probed(clips: list[Path]) -> None:
    files = fsspec.filesystem("memory")
    for number, clip in enumerate(clips[:2]):
        files.pipe(f"index/{'ab'[number]}/{clip.name}", clip.read_bytes())
    files.pipe("index/b/empty.mp4", b"")
    files.pipe("index/b/cut.mp4", clips[0].read_bytes()[:100])
    index = build_index("memory://index", workers=1)
    assert [(video.label, video.num_frames) for video in index.videos] == [("a", 48), ("b", 24)]
    assert reasons(index)["empty.mp4"] == "empty"
    assert reasons(index)["cut.mp4"].startswith("truncated")
    again = build_index("memory://index", workers=1)
    assert again.table.equals(index.table)
    files.pipe("index/b/mute.mp4", clips[1].read_bytes())
    newer = build_index("memory://index", workers=1).videos[1]
    assert newer.mtime_ns > index.videos[1].mtime_ns


def test_workers_fetch_remote_files_themselves(tmp_path: Path, clips: list[Path]) -> None:
    (tmp_path / "m.csv").write_text(
        f"path\ndir::file://{clips[0]}\nsimplecache::file://{clips[1]}\n", encoding="utf-8"
    )
    index = build_index(str(tmp_path / "m.csv"), workers=1)
    assert [video.num_frames for video in index.videos] == [24]
    assert len(index.quarantined) == 1


def test_a_truncated_file_is_indexed_up_to_its_good_part(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", frames=48)
    cut = tmp_path / "b.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    videos = {
        Path(video.path).name: video for video in build_index(str(tmp_path), workers=1).videos
    }
    assert videos["a.mkv"].seconds == pytest.approx(4.0, abs=0.1)
    assert 0.5 < videos["b.mkv"].seconds < 3.5


def mutate(data: bytes, number: int) -> bytes:
    """Flip bits, truncate, overwrite the header, zero a part, or overwrite a part of the tail."""
    rng = np.random.default_rng(number)
    changed = bytearray(data)
    size = len(changed)
    match number % 5:
        case 0:
            for place in rng.integers(0, size, max(1, size // 500)):
                changed[place] ^= 1 << int(rng.integers(8))
        case 1:
            del changed[int(rng.integers(1, size)) :]
        case 2:
            start = int(rng.integers(0, 512))
            changed[start : start + 16] = rng.bytes(16)
        case 3:
            start = int(rng.integers(0, size))
            length = min(size - start, size // 4)
            changed[start : start + length] = bytes(length)
        case 4:
            tail = int(rng.integers(max(0, size - 2000), size))  # MP4 has its index at the end
            changed[tail : tail + 8] = rng.bytes(8)
    return bytes(changed)


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_mutated_files_give_a_row_each(tmp_path: Path, clips: list[Path], count: int) -> None:
    real = sorted(Path(REAL).rglob("*.mp4"), key=lambda path: path.stat().st_size) if REAL else []
    sources = [path.read_bytes() for path in [*clips, *real[:12]]]
    suffixes = [path.suffix for path in [*clips, *real[:12]]]
    videos = tmp_path / "v"
    videos.mkdir()
    for number in range(count):
        which = number % len(sources)
        name = f"{number:03}{suffixes[which]}"
        (videos / name).write_bytes(mutate(sources[which], number))
    index = build_index(str(videos), tmp_path / "m.parquet", deadline=20)
    table = load_index(tmp_path / "m.parquet").table
    assert sorted(table["path"].to_pylist()) == sorted(str(path) for path in videos.iterdir())
    assert set(table["status"].to_pylist()) == {"ok", "quarantined"}
    assert all(reason for _, reason in index.quarantined)
    for video in index.videos:
        assert video.seconds > 0
        assert video.num_frames >= 1
        assert video.width > 0
        assert video.height > 0


def test_the_real_clips_are_all_readable(surveillance_clips: Path) -> None:
    index = build_index(str(surveillance_clips))
    assert index.summary() == "120 videos"
    assert sorted(set(map(str, index.labels()))) == ["fight", "no_fight"]
    assert index.labels().count("fight") == 60
    assert sum(video.has_audio for video in index.videos) == 113  # the data's README
