"""Rows about data: the first pass over videos, reads from the cache, shared pages, many videos."""

import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path

import decord
import numpy as np
from stepper import Stepper

from evossl.cli.options import num_cores
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.entry import entry_path, pack
from evossl.data.decode.container import layout_of, open_video
from evossl.data.decode.frame_selection import kept_size, nearest
from evossl.data.index.index import Video, load_index
from evossl.data.loader import ClipLoader
from evossl.types import ClipBatch
from perf.cap import memory_capped
from perf.place import Place
from perf.row import REPEATS, Measured, Row, interleaved, of_pairs, seconds

READS = 200
CORES = num_cores()
NUMBERS = (10, 1000, 100_000)  # of videos in the index
MANY_STEPS = 15  # in a repeat
CAP = 2_000_000_000  # of the process that steps over them: a third of their cache
LIMITED_SHARE, LIMITED_TIMES, LIMITED_STEPS = 0.1, 4, 5
SHORT = {"fps": 12, "short_side": 80, "max_seconds": 4}  # decoding keeps up with such a step
TIMES = 2


def cached_read(place: Place) -> Measured:
    """A stretch of a cached video copied into a batch, and the same bytes from memory to memory."""
    space = place.space("simclr")
    cache = ClipCache(place.cache, space.cache)
    read = partial(cache.read, sound=False)
    videos = load_index(place.manifest).videos
    stretch = space.clip.stretch
    sources = [np.array(read(video, 0, stretch)[0]) for video in videos]
    into = np.zeros_like(sources[0])
    turns, others = count(), count()

    def ours() -> None:
        read(videos[next(turns) % len(videos)], 0, stretch, into=into)

    def theirs() -> None:
        np.copyto(into, sources[next(others) % len(videos)])

    measured = interleaved(ours, theirs, calls=READS, unit="us")
    with open_kept(cache, videos) as handles, into.data.cast("B") as target:

        def kernel() -> None:
            os.preadv(handles[next(turns) % len(videos)], [target], 0)

        alone = interleaved(kernel, theirs, calls=READS, unit="us")
    told = f"{into.nbytes / 1e3:.0f} kB: {measured.told}; the kernel's copy alone"
    return Measured(measured.values, f"{told}, files kept open: {alone.median:.3g}")


@contextmanager
def open_kept(cache: ClipCache, videos: Iterable[Video]) -> Iterator[list[int]]:
    """Descriptors of cached videos."""
    with ExitStack() as stack:
        paths = (entry_path(cache.folder, cache.key(video)) for video in videos)
        yield [stack.enter_context(path.open("rb")).fileno() for path in paths]


def first_pass(place: Place) -> Measured:
    """Decode, resize, sound and writing of all videos, and decord alone on the same frames."""
    settings = place.space("simclr").cache
    videos = _again(place, TIMES)
    numbers = count()

    def ours() -> None:
        folder = place.folder / "passes" / str(next(numbers))
        ClipCache(folder, settings).fill(videos, workers=CORES)
        shutil.rmtree(folder)

    sizes = {video: _size_of(video, settings.short_side) for video in videos}

    def alone(video: Video) -> int:
        width, height = sizes[video]
        reader = decord.VideoReader(video.path, width=width, height=height, num_threads=1)
        time_N = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
        return len(reader.get_batch(nearest(time_N, settings.fps, settings.max_seconds)).asnumpy())

    def theirs() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(alone, videos))

    measured = interleaved(ours, theirs, unit="s")
    return Measured(measured.values, f"{len(videos)} videos: {measured.told}")


def _size_of(video: Video, short_side: int) -> tuple[int, int]:
    """Width and height in which a video is kept."""
    with open_video(video.path) as (container, stream):
        layout = layout_of(next(container.decode(stream)), stream)
    return kept_size(layout.width, layout.height, short_side)


def _again(place: Place, times: int) -> list[Video]:
    """The videos so many times under other names: a first pass is of many."""
    videos = load_index(place.manifest).videos
    found = []
    for number in range(times):
        for video in videos:
            name = place.folder / "again" / f"{number}-{Path(video.path).name}"
            name.parent.mkdir(exist_ok=True)
            if not name.exists():
                os.link(video.path, name)
            found.append(replace(video, path=str(name)))
    return found


def shared_pages(place: Place) -> Measured:
    """Memory of a node with two processes that read the cache, and with one: pages and own."""
    settings = place.space("simclr").cache
    cache = ClipCache(place.cache, settings)
    videos = load_index(place.manifest).videos
    words = [sys.executable, str(Path(__file__).with_name("reader.py"))]
    words += [str(place.manifest), str(place.cache), settings.model_dump_json()]
    values, told = [], []
    for _ in range(REPEATS):
        _forget(cache, videos)
        empty = _page_cache()
        with _reading(words) as first:
            one = _page_cache() - empty + first
            with _reading(words) as second:
                two = _page_cache() - empty + first + second
        values.append(two / one)
        told.append((one, two))
    one, two = (statistics.median(side) / 1e6 for side in zip(*told, strict=True))
    return Measured(values, f"{two:.0f} MB and {one:.0f} MB")


@contextmanager
def _reading(words: Sequence[str]) -> Iterator[int]:
    """A process that has read all and lives on meanwhile; by how many bytes it grew."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate(timeout=60)


def _page_cache() -> int:
    """Bytes of files that the kernel holds in memory."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    (held,) = (line.split()[1] for line in lines if line.startswith("Cached:"))
    return int(held) * 1024


def many_videos(place: Place) -> Measured:
    """Seconds of a step over a cold cache of 100,000 videos, and of one over 10."""
    space = place.demo_space("simclr")
    cache = ClipCache(place.folder / "many", space.cache)
    videos = _invented(cache, max(NUMBERS), space.clip.stretch)
    loaders = [
        ClipLoader(cache, videos[:num], stretch=space.clip.stretch, batch_size=16, seed=0)
        for num in NUMBERS
    ]
    stepper = Stepper(space)
    steps = count()
    took: list[list[float]] = []
    with memory_capped(CAP) as is_capped:
        for _ in range(REPEATS):
            took.append([])
            for loader in loaders:
                begin = next(steps) * MANY_STEPS
                end = begin + MANY_STEPS
                rows = {row for step in range(begin, end) for row in loader.rows(step)}
                _forget(cache, (videos[row] for row in rows))
                batches = loader.prefetch(begin, end)
                took[-1].append(seconds(partial(_train, stepper, batches)) / MANY_STEPS)
    medians = (1e3 * statistics.median(side) for side in zip(*took, strict=True))
    told = ", ".join(
        f"{num:,} videos: {ms:.3g} ms" for num, ms in zip(NUMBERS, medians, strict=True)
    )
    memory = f"capped at {CAP / 1e9:g} GB" if is_capped else "not capped here"
    return Measured([max(more) / few for few, *more in took], f"{told}; memory {memory}")


def _train(stepper: Stepper, batches: Iterable[ClipBatch]) -> None:
    for clips in batches:
        stepper.step(clips)


def _invented(cache: ClipCache, num: int, frames: int) -> list[Video]:
    """Videos that are nowhere but in the cache; written once."""
    template = Video("", None, "", frames / 12, 12.0, frames, 24, 24, False, 1, 1)
    videos = [replace(template, path=f"/invented/{i}.mp4", group=str(i)) for i in range(num)]
    rng = np.random.default_rng(0)
    for video in videos:
        path = entry_path(cache.folder, cache.key(video))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            frame_THWC = rng.integers(0, 256, (frames, 24, 24, 3), dtype=np.uint8)
            path.write_bytes(b"".join(pack(frame_THWC, None)))
    return videos


def _forget(cache: ClipCache, videos: Iterable[Video]) -> None:
    """Have the kernel drop the pages of these: as if memory were small."""
    os.sync()
    with open_kept(cache, videos) as handles:
        for handle in handles:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def limited(place: Place) -> Measured:
    """A step while the cache may hold a tenth of the videos, and one with all of them in it."""
    space = place.space("simclr", cache=SHORT)
    videos = _again(place, LIMITED_TIMES)
    whole = ClipCache(place.folder / "whole", space.cache)
    whole.fill(videos, workers=CORES)
    limit = LIMITED_SHARE * _size(whole.folder)
    settings = space.cache.model_copy(update={"limit_gb": limit / 1e9})
    small = ClipCache(place.folder / "limited", settings)
    stretch, batch = space.clip.stretch, space.training.batch_size
    loaders = [
        ClipLoader(cache, videos, stretch=stretch, batch_size=batch, seed=0, sound=False)
        for cache in (small, whole)
    ]
    stepper, turns = Stepper(space), count()

    def run(loader: ClipLoader) -> float:
        """What is made ahead of a turn is made in it."""
        start = next(turns) * (LIMITED_STEPS + 1)
        batches = loader.prefetch(start, start + LIMITED_STEPS + 1)
        stepper.step(next(batches))
        took = seconds(partial(_train, stepper, batches)) / LIMITED_STEPS
        batches.close()
        return took

    with ThreadPoolExecutor(1) as pool, _ended() as ended:
        largest = pool.submit(_watch, small.folder, ended)
        run(loaders[0]), run(loaders[1])
        pairs = [(run(loaders[0]), run(loaders[1])) for _ in range(REPEATS)]
    small.close()
    assert largest.result() <= limit, f"{largest.result()} bytes in a cache of {limit:.0f}"
    measured = of_pairs(pairs)
    told = f"at most {largest.result() / limit:.2f} of the limit"
    return Measured(measured.values, f"{measured.told}; {told}")


@contextmanager
def _ended() -> Iterator[threading.Event]:
    """An event that is set when the block is left, however it is."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def _watch(folder: Path, ended: threading.Event) -> int:
    """Most bytes that are seen in a cache, until it is over."""
    largest = 0
    while not ended.wait(0.05):
        largest = max(largest, _size(folder))
    return largest


def _size(folder: Path) -> int:
    """Bytes of a cache's videos, what is being written with them."""
    total = 0
    for file in chain(folder.rglob(".writing-*"), folder.rglob("*.clip")):
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


ROWS = (
    Row(
        "cached-read",
        "cached clip read, its file opened anew",
        "memcpy of the same bytes",
        1.5,
        cached_read,
    ),
    Row(
        "first-pass",
        "first pass (decode, resize, audio, write cache)",
        "decord alone in as many threads as cores, same frames",
        1.25,
        first_pass,
    ),
    Row(
        "shared-pages",
        "memory for the cache with two processes that read it: its pages, and their own",
        "with one",
        1.05,
        shared_pages,
    ),
    Row(
        "many-videos",
        "a step over 1,000 or 100,000 videos, whichever is slower, cold cache on disk",
        "a step over 10",
        1.2,
        many_videos,
    ),
    Row(
        "limited",
        "a step with a cache limited to 10 % of the data",
        "a step with the whole cache",
        1.5,
        limited,
    ),
)
