"""The cache's files and its limit, which is never exceeded, and full disks."""

import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evossl.config import Cache
from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.clip_file import clip_bytes, clip_path, open_clip
from evossl.data.index.index import Video
from evossl.errors import RunError, UserError
from tests.helpers.clip_files import as_video, write_video


def used(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return sum(path.stat().st_size for path in files)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("??/*")}


def store(budget: CacheBudget, name: str, size: int, *, evict: bool = True) -> bool:
    return budget.store(budget.folder / "xx" / name, [bytes(size)], evict=evict)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    samples=st.none() | st.integers(0, 50),
    seed=st.integers(0, 99),
)
def test_a_clip_file_reads_back_what_was_written(
    tmp_path: Path, shape: tuple[int, int, int], samples: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    sound = None if samples is None else rng.uniform(-1.2, 1.2, samples).astype(np.float32)
    path = clip_path(tmp_path, "ab12")
    assert CacheBudget(tmp_path, None).store(path, clip_bytes(frames, sound), evict=False)
    entry = open_clip(path)
    assert entry is not None
    read = np.empty_like(frames)
    with entry:
        assert entry.shape == frames.shape
        assert entry.samples == samples
        entry.read_frames(0, read)
        heard = entry.read_sound(0, 100)
    np.testing.assert_array_equal(read, frames)
    want = np.zeros(0) if sound is None else np.clip(sound, -1, 1)
    np.testing.assert_allclose(heard / 32767, want, atol=0.5 / 32767 + 1e-7)


def test_the_least_recently_used_file_is_evicted_first(tmp_path: Path) -> None:
    budget = CacheBudget(tmp_path, 1000)
    for name in "abc":
        assert store(budget, name, 300)
    assert names(tmp_path) == {"a", "b", "c"}
    assert store(budget, "d", 300)  # evicts down to 900, a tenth below the limit
    assert names(tmp_path) == {"b", "c", "d"}


def test_a_scan_counts_files_that_are_finished_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = CacheBudget(tmp_path, 1000)
    assert store(budget, "a", 300)
    writing = tmp_path / ".writing-b"
    writing.write_bytes(bytes(300))
    (tmp_path / ".lock").write_bytes(b"")  # an empty ledger: the folder is scanned
    stat, rest = Path.stat, [writing]

    def finish(path: Path, **options: bool) -> os.stat_result:
        if path in rest:
            rest.pop().rename(tmp_path / "xx" / "b")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", finish)
    with writing.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert store(budget, "c", 600)  # 300 too many: a is evicted, and b is counted
    assert names(tmp_path) == {"b", "c"}


def test_without_eviction_a_full_cache_stores_nothing_more(tmp_path: Path) -> None:
    budget = CacheBudget(tmp_path, 1000)
    assert store(budget, "a", 600, evict=False)
    assert not store(budget, "b", 600, evict=False)
    assert store(budget, "c", 400, evict=False)
    assert names(tmp_path) == {"a", "c"}
    assert list(tmp_path.glob(".writing-*")) == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 1000)), max_size=30))
def test_the_limit_is_never_exceeded(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("budget")
    for number, size in sizes:
        assert store(CacheBudget(folder, 1000), str(number), size)
        assert str(number) in names(folder)
        assert used(folder) <= 1000


def test_what_is_being_written_counts_at_its_full_size(tmp_path: Path) -> None:
    budget = CacheBudget(tmp_path, 1000)
    seen: list[int | bool] = []

    class Parts(list[bytes]):
        """While its second part is written, other files are stored."""

        def __iter__(self) -> Iterator[bytes]:
            yield self[0]
            if list(tmp_path.glob(".writing-*")) and not seen:
                seen.append(used(tmp_path))
                seen.append(store(budget, "large", 500, evict=False))
                seen.append(store(budget, "small", 400, evict=False))
            yield self[1]

    parts = Parts([bytes(100), bytes(500)])
    assert budget.store(tmp_path / "xx" / "first", parts, evict=False)
    assert seen == [600, False, True]
    assert used(tmp_path) == 1000


def test_leftovers_are_deleted_but_no_file_being_written(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".writing-dead", tmp_path / ".writing-alive"
    dead.write_bytes(bytes(900))
    alive.write_bytes(bytes(100))
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        CacheBudget(tmp_path, None).prepare_folder()
        assert not dead.exists()
        assert alive.exists()
        assert not store(CacheBudget(tmp_path, 1000), "a", 901, evict=False)
        assert store(CacheBudget(tmp_path, 1000), "a", 900, evict=False)


def test_files_of_a_cache_without_limit_count_once_there_is_one(tmp_path: Path) -> None:
    assert store(CacheBudget(tmp_path, 1000), "a", 100)
    assert store(CacheBudget(tmp_path, None), "b", 900)
    assert store(CacheBudget(tmp_path, 1000), "c", 100)
    assert used(tmp_path) <= 1000


def test_an_invalid_ledger_is_ignored(tmp_path: Path) -> None:
    assert store(CacheBudget(tmp_path, 1000), "a", 900)
    (tmp_path / ".lock").write_bytes(b"-5 or so")
    assert not store(CacheBudget(tmp_path, 1000), "b", 200, evict=False)


def test_one_file_above_the_limit_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cache.limit_gb: 1e-06 is less than one video needs"):
        store(CacheBudget(tmp_path, 1000), "a", 1001)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may exceed 4500 bytes: writing itself fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_failed_write_keeps_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    budget = CacheBudget(tmp_path, None)
    assert store(budget, "a", 4000)
    with pytest.raises(RunError, match=r"xx/a: cannot be written: File too large"):
        store(budget, "a", 5000)
    assert (tmp_path / "xx" / "a").read_bytes() == bytes(4000)
    assert list(tmp_path.glob(".writing-*")) == []


def test_a_full_disk_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match=r"xx/a: the disk is full; .* Free some space"):
        store(CacheBudget(tmp_path, None), "a", 4000)
    assert list(tmp_path.glob(".writing-*")) == []


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    folder = tmp_path_factory.mktemp("clips")
    return [as_video(write_video(folder / f"{n}.mp4", seed=n, frames=6)) for n in range(4)]


def test_a_full_disk_ends_the_fill_and_keeps_cached_videos(
    tmp_path: Path, videos: list[Video], small_disk: None
) -> None:
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    )
    cache = ClipCache(tmp_path, Cache(fps=12, short_side=16))
    cache.fill(videos[:1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(RunError, match="cannot be written: File too large"):
        cache.fill(videos, workers=1)
    assert cache.shape(videos[0])[0] == 6
    assert len(list(tmp_path.rglob("*.clip"))) == 1
    assert list(tmp_path.glob(".writing-*")) == []


def test_a_complete_cache_is_not_written_to(tmp_path: Path, videos: list[Video]) -> None:
    """A shared cache may therefore be read-only."""
    settings = Cache(fps=12, short_side=16)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    rows = [*videos, as_video(broken)]
    ClipCache(tmp_path / "cache", settings).fill(rows)
    (tmp_path / "cache" / ".lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    cache = ClipCache(tmp_path / "cache", settings)
    assert len(cache.fill(rows).readable) == 4
    assert cache.prepare(rows).keys() == {str(broken)}
    assert cache.shape(videos[0])[0] == 6
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")} == before


def test_a_data_set_above_the_limit_streams_through_the_cache(
    tmp_path: Path, videos: list[Video]
) -> None:
    roomy = ClipCache(tmp_path / "roomy", Cache(fps=12, short_side=16))
    roomy.fill(videos, workers=1)
    one = used(tmp_path / "roomy") // 4
    tight = Cache(fps=12, short_side=16, limit_gb=2.5 * one / 1e9)
    cache = ClipCache(tmp_path / "tight", tight)
    assert cache.fill(videos, workers=1).readable == videos
    assert len(list((tmp_path / "tight").rglob("*.clip"))) == 2
    for video in [*videos, *videos]:
        np.testing.assert_array_equal(cache.read(video, 0, 6)[0], roomy.read(video, 0, 6)[0])
        assert used(tmp_path / "tight") <= 2.5 * one


def test_reading_protects_a_video_from_eviction(tmp_path: Path, videos: list[Video]) -> None:
    ClipCache(tmp_path / "roomy", Cache(fps=12, short_side=16)).fill(videos[:2])
    one = used(tmp_path / "roomy") // 2
    cache = ClipCache(tmp_path / "c", Cache(fps=12, short_side=16, limit_gb=2.5 * one / 1e9))
    cache.prepare([videos[0]])
    cache.prepare([videos[1]])
    for _ in range(2):
        cache.shape(videos[0])[0]
    cache.prepare([videos[2]])
    kept = {path.stem for path in (tmp_path / "c").rglob("*.clip")}
    assert kept == {cache.key(videos[0]), cache.key(videos[2])}
