"""The clip cache: it stores exactly what the decoder returns, once, and only complete files."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from evossl.config import Cache
from evossl.data.cache import clip_cache as cache_module
from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_cache import ClipCache, default_cache_folder
from evossl.data.cache.clip_file import clip_bytes, clip_path, decoding_lock
from evossl.data.decode.decoder import DecodeError, default_decoder
from evossl.data.decode.sound import decode_sound
from evossl.data.index.index import Video, build_index
from evossl.errors import RunError, UserError
from tests.helpers.clip_files import as_video, write_video

SETTINGS = Cache(fps=12, short_side=32, max_seconds=3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        as_video(write_video(folder / "a.mp4", frames=24, sound=2.0)),
        as_video(write_video(folder / "b.mp4", frames=48, seed=1, sound=1.0)),
        as_video(write_video(folder / "c.mp4", frames=12, seed=2)),
        as_video(write_video(folder / "d.mp4", frames=6, seed=3)),
    ]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, videos: list[Video]) -> ClipCache:
    """A cache that holds all of `videos`; tests only read it."""
    cache = ClipCache(tmp_path_factory.mktemp("cache"), SETTINGS)
    report = cache.fill(videos)
    assert (report.readable, report.failed) == (videos, [])
    return cache


def clip_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the cached videos with inode and time, which change if a file is written again."""
    found = {path: path.stat() for path in folder.rglob("*.clip")}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def test_frames_are_the_decoders_own(full: ClipCache, videos: list[Video]) -> None:
    for video in videos:
        want = default_decoder().frames(video.path, 12, 32, 3)
        assert full.shape(video)[0] == len(want)
        frames, _ = full.read(video, 0, 1000)
        np.testing.assert_array_equal(frames, want)
        part, _ = full.read(video, 2, 3)
        np.testing.assert_array_equal(part, want[2:5])
    assert [full.shape(video)[0] for video in videos] == [24, 36, 12, 6]  # b is cut at 3 s


def test_frames_are_read_into_the_given_array(full: ClipCache, videos: list[Video]) -> None:
    want, _ = full.read(videos[0], 1, 4)
    place = np.full((5, 40, 60, 3), 7, np.uint8)  # larger than the video, so not contiguous
    frames, _ = full.read(videos[0], 1, 4, into=place)
    assert np.shares_memory(frames, place)
    np.testing.assert_array_equal(place[:4, :32, :43], want)
    place[:4, :32, :43] = 7
    assert (place == 7).all()


def test_sound_is_of_the_same_seconds_as_the_frames(full: ClipCache, videos: list[Video]) -> None:
    want = decode_sound(videos[0].path, 3)
    assert want is not None
    _, sound = full.read(videos[0], 6, 9)  # 0.5 s to 1.25 s
    assert sound is not None
    assert sound.dtype == np.float32
    np.testing.assert_allclose(sound, want[8000:20_000], atol=0.5 / 32767 + 1e-7)


def test_missing_sound_is_none_and_a_short_track_is_padded(
    full: ClipCache, videos: list[Video]
) -> None:
    _, b, c, _ = videos
    assert full.read(c, 0, 12)[1] is None  # no track
    _, start = full.read(b, 0, 18)  # 1 s of sound over 1.5 s
    assert start is not None
    track = decode_sound(b.path, 3)
    assert track is not None
    assert len(start) == 24_000
    assert not start[len(track) :].any()
    assert np.abs(start[: len(track)]).max() > 0.4
    assert full.read(b, 20, 12)[1] is None  # long after the track's end


def test_cached_videos_are_not_decoded_again(full: ClipCache, videos: list[Video]) -> None:
    before = clip_files(full.folder)
    assert len(before) == 4
    seen: list[tuple[int, int]] = []
    full.fill(videos, progress=lambda done, total: seen.append((done, total)))
    ClipCache(full.folder, SETTINGS).fill(videos)
    assert clip_files(full.folder) == before
    assert seen == [(4, 4)]


def test_an_interrupted_fill_continues_where_it_stopped(
    tmp_path: Path, videos: list[Video]
) -> None:
    ClipCache(tmp_path, SETTINGS).fill(videos[:2], workers=1)
    before = clip_files(tmp_path)
    seen: list[tuple[int, int]] = []
    ClipCache(tmp_path, SETTINGS).fill(videos, workers=1, progress=lambda *done: seen.append(done))
    after = clip_files(tmp_path)
    assert len(after) == 4
    assert before.items() <= after.items()
    assert seen == [(3, 4), (4, 4), (4, 4)]


def test_the_key_depends_on_everything_that_changes_the_pixels(
    tmp_path: Path, videos: list[Video], monkeypatch: pytest.MonkeyPatch
) -> None:
    video, folder = replace(videos[0], seconds=2.0), tmp_path
    recipes = ({}, {"fps": 11.0}, {"short_side": 31}, {"max_seconds": 2.9})
    files = ({"path": "/x.mp4"}, {"bytes": 1}, {"mtime_ns": 1})
    keys = [
        *(ClipCache(folder, SETTINGS.model_copy(update=new)).key(video) for new in recipes),
        *(ClipCache(folder, SETTINGS).key(replace(video, **new)) for new in files),
    ]
    cache = ClipCache(folder, SETTINGS)
    monkeypatch.setattr(cache_module, "FORMAT", -1)
    keys.append(cache.key(video))
    monkeypatch.undo()
    cache._recipe = replace(cache._recipe, decoder="another")
    keys.append(cache.key(video))
    assert len(set(keys)) == len(keys) == 9


def test_the_key_ignores_what_does_not_change_the_pixels(
    tmp_path: Path, videos: list[Video]
) -> None:
    video = replace(videos[0], seconds=2.0)
    limited = SETTINGS.model_copy(update={"limit_gb": 1.0})
    other = replace(video, label="x", group="y", seconds=9.0)
    assert ClipCache(tmp_path, limited).key(other) == ClipCache(tmp_path, SETTINGS).key(video)


def test_short_videos_have_one_key_for_any_max_seconds(tmp_path: Path, videos: list[Video]) -> None:
    longer = SETTINGS.model_copy(update={"max_seconds": 30.0})
    short, long = (replace(videos[0], seconds=seconds) for seconds in (1.5, 1.6))
    caches = [ClipCache(tmp_path, settings) for settings in (SETTINGS, longer)]
    assert len({cache.key(short) for cache in caches}) == 1
    assert len({cache.key(long) for cache in caches}) == 2, (
        "the true length may be twice the one in the header"
    )


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=12)
    cache = ClipCache(tmp_path / "cache", SETTINGS)
    assert cache.shape(as_video(path))[0] == 12
    write_video(path, frames=24)
    assert cache.shape(as_video(path))[0] == 24


def test_reading_a_missing_video_decodes_it(tmp_path: Path, videos: list[Video]) -> None:
    cache = ClipCache(tmp_path, SETTINGS)
    assert cache.read(videos[2], 0, 5)[0].shape == (5, 32, 43, 3)
    assert len(clip_files(tmp_path)) == 1
    assert cache.prepare(videos) == {}
    assert len(clip_files(tmp_path)) == 4


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, None])
def test_a_damaged_clip_file_is_decoded_again(
    tmp_path: Path, videos: list[Video], full: ClipCache, damage: bytes | None
) -> None:
    video = videos[2]
    ClipCache(tmp_path, SETTINGS).fill([video])
    (path,) = clip_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    frames, _ = ClipCache(tmp_path, SETTINGS).read(video, 0, 12)
    np.testing.assert_array_equal(frames, full.read(video, 0, 12)[0])


def test_a_video_that_cannot_be_decoded_is_tried_once(tmp_path: Path, videos: list[Video]) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(Path(videos[0].path).read_bytes()[:200])
    broken = as_video(bad)
    cache = ClipCache(tmp_path / "cache", SETTINGS)
    report = cache.fill([broken, videos[2]], workers=1)
    assert report.readable == [videos[2]]
    ((path, reason),) = report.failed
    assert path == str(bad)
    assert reason.startswith("truncated")
    bad.write_bytes(Path(videos[0].path).read_bytes())  # same row: the fault is remembered
    assert cache.fill([broken, videos[2]]) == report
    with pytest.raises(DecodeError, match="truncated"):
        cache.read(broken, 0, 1)
    with pytest.raises(RunError, match=r"none of 1 videos can be decoded: .*bad.mp4: truncated"):
        cache.fill([broken])
    assert cache.fill([as_video(bad)]).failed == []


def test_hangs_and_crashes_fail_once_and_are_retried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "DECODE_JOB", "tests.helpers.misbehaving_jobs:misbehave")
    rows = [as_video(f"/{name}.mp4") for name in ("hang_1", "exit_1", "a")]
    cache = ClipCache(tmp_path, SETTINGS, deadline=0.5)
    report = cache.fill(rows, deadline=0.5)
    assert report.readable == [rows[2]]
    assert dict(report.failed) == {
        "/hang_1.mp4": "no answer within 0.5 s",
        "/exit_1.mp4": "killed the decoder: exit code 7",
    }
    assert list(tmp_path.rglob("*.fault")) == []
    with pytest.raises(DecodeError, match="exit code 7"):
        cache.shape(rows[1])[0]


def test_remote_videos_are_cached_like_local_ones(
    tmp_path: Path, videos: list[Video], full: ClipCache
) -> None:
    fsspec.filesystem("memory").pipe("cache/a.mp4", Path(videos[0].path).read_bytes())
    (video,) = build_index("memory://cache").videos
    cache = ClipCache(tmp_path, SETTINGS)
    cache.fill([video])
    np.testing.assert_array_equal(cache.read(video, 0, 24)[0], full.read(videos[0], 0, 24)[0])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_evicted_videos_free_their_disk_space(tmp_path: Path, videos: list[Video]) -> None:
    settings = SETTINGS.model_copy(update={"limit_gb": 0.25e-3})
    cache = ClipCache(tmp_path, settings)
    for video in (*videos, *videos):
        cache.read(video, 0, 24)
    assert len(clip_files(tmp_path)) < len(videos)
    held = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    held |= set(Path("/proc/self/maps").read_text(encoding="utf-8").split())
    assert not [name for name in held if ".clip" in name]


def test_processes_that_miss_the_same_video_decode_it_once(
    tmp_path: Path, videos: list[Video]
) -> None:
    cache, video = ClipCache(tmp_path, SETTINGS), videos[1]
    key = cache.key(video)
    with ThreadPoolExecutor(1) as pool:
        with decoding_lock(tmp_path, key):
            waiting = pool.submit(cache.read, video, 0, 99)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
            pieces = clip_bytes(np.zeros((3, 32, 43, 3), np.uint8), None)
            CacheBudget(tmp_path, None).store(clip_path(tmp_path, key), pieces, evict=False)
        frames, _ = waiting.result(timeout=30)
    assert len(frames) == 3  # what was stored while it waited; the decoder returns 36


def test_the_default_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVOSSL_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path
    monkeypatch.delenv("EVOSSL_CACHE")
    assert default_cache_folder() == Path.home() / ".cache" / "evossl"


FILL = """
import sys
from pathlib import Path
from evossl.config import Cache
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import load_index
cache = ClipCache(Path(sys.argv[1]), Cache(fps=12, short_side=32, max_seconds=3))
report = cache.fill(load_index(sys.argv[2]).videos, workers=1)
sys.exit(len(report.readable))
"""


def start_fill(folder: Path, manifest: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FILL, str(folder), str(manifest)])


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, list[Video]]:
    """A manifest of six videos, and its rows."""
    for number in range(6):
        write_video(tmp_path / "many" / f"{number}.mp4", seed=number, frames=24)
    manifest = tmp_path / "manifest.parquet"
    return manifest, build_index(str(tmp_path / "many"), manifest, workers=1).videos


def test_two_processes_may_fill_the_same_cache(
    tmp_path: Path, many: tuple[Path, list[Video]]
) -> None:
    manifest, rows = many
    folder = tmp_path / "cache"
    racers = [start_fill(folder, manifest) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [6, 6]
    assert len(clip_files(folder)) == 6
    assert list(folder.glob(".writing-*")) == []
    cache = ClipCache(folder, SETTINGS)
    for video in rows:
        want = default_decoder().frames(video.path, 12, 32, 3)
        np.testing.assert_array_equal(cache.read(video, 0, 99)[0], want)


def test_a_killed_fill_leaves_whole_files_and_is_resumed(
    tmp_path: Path, many: tuple[Path, list[Video]]
) -> None:
    manifest, rows = many
    folder = tmp_path / "cache"
    victim = start_fill(folder, manifest)
    while not clip_files(folder) and victim.poll() is None:
        time.sleep(0.005)
    victim.kill()
    victim.wait()
    (folder / ".writing-left").write_bytes(b"by a process that died")
    kept = clip_files(folder)
    cache = ClipCache(folder, SETTINGS)
    assert len(cache.fill(rows).readable) == 6
    assert list(folder.glob(".writing-left")) == []
    assert kept.keys() <= clip_files(folder).keys()
    for video in rows:
        want = default_decoder().frames(video.path, 12, 32, 3)
        np.testing.assert_array_equal(cache.read(video, 0, 99)[0], want)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path, videos: list[Video]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/cache: cannot be written"):
        ClipCache(tmp_path / "file" / "cache", SETTINGS).fill(videos)


def test_a_limit_below_one_video_is_refused(tmp_path: Path, videos: list[Video]) -> None:
    settings = SETTINGS.model_copy(update={"limit_gb": 1e-6})
    with pytest.raises(UserError, match=r"cache.limit_gb: 1e-06 is less than one video needs"):
        ClipCache(tmp_path, settings).fill(videos)


STREAM = """
import sys
from pathlib import Path
from evossl.config import Cache
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import load_index
limit = float(sys.argv[3])
cache = ClipCache(Path(sys.argv[1]), Cache(fps=12, short_side=32, max_seconds=3, limit_gb=limit))
for video in load_index(sys.argv[2]).videos:
    frames, _ = cache.read(video, 0, 99)
    assert frames.shape == (24, 32, 43, 3), frames.shape
"""


def test_two_processes_may_stream_through_the_same_tight_cache(
    tmp_path: Path, many: tuple[Path, list[Video]]
) -> None:
    manifest, rows = many
    roomy = ClipCache(tmp_path / "roomy", SETTINGS)
    roomy.prepare(rows[:1])
    (file,) = clip_files(roomy.folder)
    limit, folder = 3.5 * file.stat().st_size, tmp_path / "tight"
    command = [sys.executable, "-c", STREAM, str(folder), str(manifest), str(limit / 1e9)]
    readers = [subprocess.Popen(command) for _ in range(2)]
    assert [reader.wait() for reader in readers] == [0, 0]
    left = clip_files(folder)
    assert 1 <= len(left) <= 3
    assert list(folder.glob(".writing-*")) == []
