"""Rows about data: the first pass over videos, cache reads, shared pages, many videos."""

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
from training_step import Stepper

from evossl.cli.options import num_cores
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.clip_file import clip_bytes, clip_path
from evossl.data.decode.container import display_layout, open_video
from evossl.data.decode.frame_selection import nearest_frames, scaled_size
from evossl.data.index.index import Video, load_index
from evossl.data.loader import ClipLoader
from evossl.types import ClipBatch
from perf.bench_folder import BenchFolder
from perf.measurement import (
    NUM_REPEATS,
    Measurement,
    Row,
    measure_ratio,
    ratios_of,
    seconds_per_call,
)
from perf.memory_cap import cap_memory

READS_PER_REPEAT = 200
NUM_CORES = num_cores()
VIDEO_COUNTS = (10, 1000, 100_000)  # videos in the index
STEPS_OVER_MANY = 15  # per repeat
MEMORY_CAP = 2_000_000_000  # bytes of the process; the cache of 100,000 videos has three times that
LIMITED_FRACTION, LIMITED_COPIES, LIMITED_STEPS = 0.1, 4, 5
SHORT_CLIPS = {"fps": 12, "short_side": 80, "max_seconds": 4}  # decoding keeps up with the step
FIRST_PASS_COPIES = 2


def cached_read(bench: BenchFolder) -> Measurement:
    """Return the time of reading a cached clip into a batch over a copy of the same bytes."""
    space = bench.space("simclr")
    cache = ClipCache(bench.cache, space.cache)
    read = partial(cache.read, sound=False)
    videos = load_index(bench.manifest).videos
    stretch = space.clip.stretch
    sources = [np.array(read(video, 0, stretch)[0]) for video in videos]
    into = np.zeros_like(sources[0])
    turns, others = count(), count()

    def ours() -> None:
        read(videos[next(turns) % len(videos)], 0, stretch, into=into)

    def theirs() -> None:
        np.copyto(into, sources[next(others) % len(videos)])

    measurement = measure_ratio(ours, theirs, calls=READS_PER_REPEAT, unit="us")
    with open_entries(cache, videos) as handles, into.data.cast("B") as target:

        def kernel() -> None:
            os.preadv(handles[next(turns) % len(videos)], [target], 0)

        alone = measure_ratio(kernel, theirs, calls=READS_PER_REPEAT, unit="us")
    details = f"{into.nbytes / 1e3:.0f} kB: {measurement.details}; the kernel's copy alone"
    return Measurement(measurement.values, f"{details}, from open files: {alone.median:.3g}")


@contextmanager
def open_entries(cache: ClipCache, videos: Iterable[Video]) -> Iterator[list[int]]:
    """Open the cache files of videos; yield their descriptors."""
    with ExitStack() as stack:
        paths = (clip_path(cache.folder, cache.key(video)) for video in videos)
        yield [stack.enter_context(path.open("rb")).fileno() for path in paths]


def first_pass(bench: BenchFolder) -> Measurement:
    """Return the time of caching all videos over that of decord alone on the same frames."""
    settings = bench.space("simclr").cache
    videos = _linked_copies(bench, FIRST_PASS_COPIES)
    numbers = count()

    def ours() -> None:
        folder = bench.folder / "passes" / str(next(numbers))
        ClipCache(folder, settings).fill(videos, workers=NUM_CORES)
        shutil.rmtree(folder)

    sizes = {video: _size_of(video, settings.short_side) for video in videos}

    def alone(video: Video) -> int:
        width, height = sizes[video]
        reader = decord.VideoReader(video.path, width=width, height=height, num_threads=1)
        time_N = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
        return len(
            reader.get_batch(nearest_frames(time_N, settings.fps, settings.max_seconds)).asnumpy()
        )

    def theirs() -> None:
        with ThreadPoolExecutor(NUM_CORES) as pool:
            list(pool.map(alone, videos))

    measurement = measure_ratio(ours, theirs, unit="s")
    return Measurement(measurement.values, f"{len(videos)} videos: {measurement.details}")


def _size_of(video: Video, short_side: int) -> tuple[int, int]:
    """Return the width and height at which a video is cached."""
    with open_video(video.path) as (container, stream):
        layout = display_layout(next(container.decode(stream)), stream)
    return scaled_size(layout.width, layout.height, short_side)


def _linked_copies(bench: BenchFolder, times: int) -> list[Video]:
    """Return `times` copies of the videos under other names, so that there are enough of them."""
    videos = load_index(bench.manifest).videos
    found = []
    for number in range(times):
        for video in videos:
            name = bench.folder / "copies" / f"{number}-{Path(video.path).name}"
            name.parent.mkdir(exist_ok=True)
            if not name.exists():
                os.link(video.path, name)
            found.append(replace(video, path=str(name)))
    return found


def shared_pages(bench: BenchFolder) -> Measurement:
    """Return the memory of two processes that read the cache over that of one, pages included."""
    settings = bench.space("simclr").cache
    cache = ClipCache(bench.cache, settings)
    videos = load_index(bench.manifest).videos
    words = [sys.executable, str(Path(__file__).with_name("cache_reader.py"))]
    words += [str(bench.manifest), str(bench.cache), settings.model_dump_json()]
    values, sizes = [], []
    for _ in range(NUM_REPEATS):
        _drop_pages(cache, videos)
        empty = _page_cache_size()
        with _reading(words) as first:
            one = _page_cache_size() - empty + first
            with _reading(words) as second:
                two = _page_cache_size() - empty + first + second
        values.append(two / one)
        sizes.append((one, two))
    one, two = (statistics.median(side) / 1e6 for side in zip(*sizes, strict=True))
    return Measurement(values, f"{two:.0f} MB and {one:.0f} MB")


@contextmanager
def _reading(words: Sequence[str]) -> Iterator[int]:
    """Start a process that reads all videos and then waits; yield by how many bytes it grew."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate(timeout=60)


def _page_cache_size() -> int:
    """Return the bytes of files that the kernel holds in memory."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    (held,) = (line.split()[1] for line in lines if line.startswith("Cached:"))
    return int(held) * 1024


def many_videos(bench: BenchFolder) -> Measurement:
    """Return the time of a step over a cold cache of many videos over that with 10 videos."""
    space = bench.demo_space("simclr")
    cache = ClipCache(bench.folder / "many", space.cache)
    videos = _write_noise_entries(cache, max(VIDEO_COUNTS), space.clip.stretch)
    loaders = [
        ClipLoader(cache, videos[:num], stretch=space.clip.stretch, batch_size=16, seed=0)
        for num in VIDEO_COUNTS
    ]
    stepper = Stepper(space)
    steps = count()
    took: list[list[float]] = []
    with cap_memory(MEMORY_CAP) as is_capped:
        for _ in range(NUM_REPEATS):
            took.append([])
            for loader in loaders:
                begin = next(steps) * STEPS_OVER_MANY
                end = begin + STEPS_OVER_MANY
                rows = {row for step in range(begin, end) for row in loader.rows(step)}
                _drop_pages(cache, (videos[row] for row in rows))
                batches = loader.prefetch(begin, end)
                took[-1].append(
                    seconds_per_call(partial(_train, stepper, batches)) / STEPS_OVER_MANY
                )
    medians = (1e3 * statistics.median(side) for side in zip(*took, strict=True))
    times = ", ".join(
        f"{num:,} videos: {ms:.3g} ms" for num, ms in zip(VIDEO_COUNTS, medians, strict=True)
    )
    memory = f"capped at {MEMORY_CAP / 1e9:g} GB" if is_capped else "not capped"
    return Measurement([max(more) / few for few, *more in took], f"{times}; memory {memory}")


def _train(stepper: Stepper, batches: Iterable[ClipBatch]) -> None:
    for clips in batches:
        stepper.step(clips)


def _write_noise_entries(cache: ClipCache, num: int, frames: int) -> list[Video]:
    """Return invented videos that exist only as noise in the cache, which is written once."""
    template = Video("", None, "", frames / 12, 12.0, frames, 24, 24, False, 1, 1)
    videos = [replace(template, path=f"/invented/{i}.mp4", group=str(i)) for i in range(num)]
    rng = np.random.default_rng(0)
    for video in videos:
        path = clip_path(cache.folder, cache.key(video))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            frame_THWC = rng.integers(0, 256, (frames, 24, 24, 3), dtype=np.uint8)
            path.write_bytes(b"".join(clip_bytes(frame_THWC, None)))
    return videos


def _drop_pages(cache: ClipCache, videos: Iterable[Video]) -> None:
    """Make the kernel drop the pages of these videos, as on a machine with little memory."""
    os.sync()
    with open_entries(cache, videos) as handles:
        for handle in handles:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def limited(bench: BenchFolder) -> Measurement:
    """Return the time of a step with a cache of a tenth of the data over one with all of it."""
    space = bench.space("simclr", cache=SHORT_CLIPS)
    videos = _linked_copies(bench, LIMITED_COPIES)
    whole = ClipCache(bench.folder / "whole", space.cache)
    whole.fill(videos, workers=NUM_CORES)
    limit = LIMITED_FRACTION * _size(whole.folder)
    settings = space.cache.model_copy(update={"limit_gb": limit / 1e9})
    small = ClipCache(bench.folder / "limited", settings)
    stretch, batch = space.clip.stretch, space.training.batch_size
    loaders = [
        ClipLoader(cache, videos, stretch=stretch, batch_size=batch, seed=0, sound=False)
        for cache in (small, whole)
    ]
    stepper, turns = Stepper(space), count()

    def run(loader: ClipLoader) -> float:
        """Time some steps; clips prefetched for a turn are loaded within it."""
        start = next(turns) * (LIMITED_STEPS + 1)
        batches = loader.prefetch(start, start + LIMITED_STEPS + 1)
        stepper.step(next(batches))
        took = seconds_per_call(partial(_train, stepper, batches)) / LIMITED_STEPS
        batches.close()
        return took

    with ThreadPoolExecutor(1) as pool, _end_event() as ended:
        largest = pool.submit(_largest_size, small.folder, ended)
        run(loaders[0]), run(loaders[1])
        pairs = [(run(loaders[0]), run(loaders[1])) for _ in range(NUM_REPEATS)]
    small.close()
    assert largest.result() <= limit, f"{largest.result()} bytes in a cache of {limit:.0f}"
    measurement = ratios_of(pairs)
    share = f"at most {largest.result() / limit:.2f} of the limit"
    return Measurement(measurement.values, f"{measurement.details}; {share}")


@contextmanager
def _end_event() -> Iterator[threading.Event]:
    """Yield an event that is set when the block is left."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def _largest_size(folder: Path, ended: threading.Event) -> int:
    """Return the largest size of a cache folder, in bytes, until the event is set."""
    largest = 0
    while not ended.wait(0.05):
        largest = max(largest, _size(folder))
    return largest


def _size(folder: Path) -> int:
    """Return the bytes of a cache's files, including those being written."""
    size_of_inode: dict[int, int] = {}  # a file that is renamed meanwhile counts once
    for file in chain(folder.rglob(".writing-*"), folder.rglob("*.clip")):
        with suppress(FileNotFoundError):
            status = file.stat()
            size_of_inode[status.st_ino] = status.st_size
    return sum(size_of_inode.values())


ROWS = (
    Row(
        "cached-read",
        "reading a cached clip, including opening its file",
        "a memory copy of the same bytes",
        1.5,
        cached_read,
    ),
    Row(
        "first-pass",
        "first pass (decode, resize, audio, write cache)",
        "decord alone on the same frames, one thread per core",
        1.25,
        first_pass,
    ),
    Row(
        "shared-pages",
        "memory of two processes that read the cache, file pages included",
        "one process",
        1.05,
        shared_pages,
    ),
    Row(
        "many-videos",
        "a step over 1,000 or 100,000 videos (the slower of the two), cold cache on disk",
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
