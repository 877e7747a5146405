"""Rows about data: the first pass over videos, reads from the cache, shared pages, many videos."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import decord
import numpy as np
from stepper import Stepper

from evossl.streams import ClipBatch
from evossl.video.cache import ClipCache
from evossl.video.cache_files import entry_path, pack
from evossl.video.container import layout_of, open_video
from evossl.video.index import Video, load_index
from evossl.video.loader import ClipLoader
from evossl.video.sampling import kept_size, nearest
from perf.place import Place
from perf.row import REPEATS, Measured, Row, interleaved, of_pairs, seconds

READS = 200
CORES = os.cpu_count() or 1
FEW, MANY = 10, 100_000
MANY_STEPS = 20  # in a repeat
LIMITED_SHARE = 0.1
LIMITED_STEPS = 6
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
        np.copyto(into, read(videos[next(turns) % len(videos)], 0, stretch)[0])

    def theirs() -> None:
        np.copyto(into, sources[next(others) % len(videos)])

    measured = interleaved(ours, theirs, calls=READS, unit="us")
    return Measured(measured.values, f"{into.nbytes / 1e3:.0f} kB: {measured.told}")


def first_pass(place: Place) -> Measured:
    """Decode, resize, sound and writing of all videos, and decord alone on the same frames."""
    settings = place.space("simclr").cache
    videos = _again(place, TIMES)
    numbers = count()

    def ours() -> None:
        folder = place.folder / "passes" / str(next(numbers))
        ClipCache(folder, settings).fill(videos, workers=CORES)
        shutil.rmtree(folder)

    def alone(video: Video) -> int:
        with open_video(video.path) as (container, stream):
            layout = layout_of(next(container.decode(stream)), stream)
        width, height = kept_size(layout.width, layout.height, settings.short_side)
        reader = decord.VideoReader(video.path, width=width, height=height, num_threads=1)
        time_N = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
        return len(reader.get_batch(nearest(time_N, settings.fps, settings.max_seconds)).asnumpy())

    def theirs() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(alone, videos))

    measured = interleaved(ours, theirs, unit="s")
    return Measured(measured.values, f"{len(videos)} videos: {measured.told}")


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
    """Memory that a node spends on the cache's pages: two processes over one."""
    values = []
    for _ in range(REPEATS):
        first = _reader(place)
        alone = _mapped(first.pid)
        second = _reader(place)
        values.append((_mapped(first.pid) + _mapped(second.pid)) / alone)
        for process in (first, second):
            process.communicate(b"\n", timeout=60)
    return Measured(values, f"{alone / 1e6:.0f} MB of pages in one process")


def _reader(place: Place) -> "subprocess.Popen[bytes]":
    """A process that has read every cached video, and keeps them mapped."""
    program = Path(__file__).with_name("reader.py")
    settings = place.space("simclr").cache.model_dump_json()
    words = [sys.executable, str(program), str(place.manifest), str(place.cache), settings]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    return process


def _mapped(process_id: int) -> int:
    """Proportional bytes of cached videos that a process has in memory: shared ones in parts."""
    total, counts = 0, False
    for line in Path(f"/proc/{process_id}/smaps").read_text(encoding="ascii").splitlines():
        if "-" in line.split(":")[0] and "kB" not in line:
            counts = line.endswith(".clip")
        elif counts and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def many_videos(place: Place) -> Measured:
    """Seconds of a step over a cold cache of 100,000 videos, and of one over 10."""
    space = place.demo_space("simclr")
    cache = ClipCache(place.folder / "many", space.cache)
    videos = _invented(cache, MANY, space.clip.stretch)
    loaders = [
        ClipLoader(cache, videos[:num], stretch=space.clip.stretch, batch_size=16, seed=0)
        for num in (MANY, FEW)
    ]
    stepper = Stepper(space)
    steps = count()
    pairs = []
    for _ in range(REPEATS):
        took = []
        for loader in loaders:
            begin = next(steps) * MANY_STEPS
            _forget(cache, loader, videos, range(begin, begin + MANY_STEPS))
            batches = loader.prefetch(begin, begin + MANY_STEPS)
            took.append(seconds(partial(_train, stepper, batches)) / MANY_STEPS)
        pairs.append((took[0], took[1]))
    return of_pairs(pairs)


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


def _forget(cache: ClipCache, loader: ClipLoader, videos: list[Video], steps: range) -> None:
    """Have the kernel drop the pages of what these steps read: as if memory were small."""
    cache.close()
    os.sync()
    for step in steps:
        for row in loader.rows(step):
            with entry_path(cache.folder, cache.key(videos[row])).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def limited(place: Place) -> Measured:
    """A step while the cache may hold a tenth of the videos, and one with all of them in it."""
    space = place.space("simclr")
    videos = load_index(place.manifest).videos
    whole = ClipCache(place.cache, space.cache)
    size = sum(entry_path(whole.folder, whole.key(v)).stat().st_size for v in videos)
    limit = LIMITED_SHARE * size
    folder = place.folder / "limited"
    settings = space.cache.model_copy(update={"limit_gb": limit / 1e9})
    small = ClipCache(folder, settings)
    stretch, batch = space.clip.stretch, space.training.batch_size
    loaders = [
        ClipLoader(cache, videos, stretch=stretch, batch_size=batch, seed=0)
        for cache in (small, whole)
    ]
    stepper = Stepper(space)
    streams = [loader.prefetch(0, 1 << 20) for loader in loaders]
    largest = 0

    def run(which: int) -> float:
        nonlocal largest
        begin = time.perf_counter()
        for _ in range(LIMITED_STEPS):
            stepper.step(next(streams[which]))
            largest = max(largest, _size(folder))
        return (time.perf_counter() - begin) / LIMITED_STEPS

    run(0), run(1)
    pairs = [(run(0), run(1)) for _ in range(REPEATS)]
    for stream in streams:
        stream.close()
    small.close()
    assert largest <= limit, f"{largest} bytes in a cache of {limit:.0f}"
    measured = of_pairs(pairs)
    return Measured(measured.values, f"{measured.told}; at most {largest / limit:.2f} of the limit")


def _size(folder: Path) -> int:
    """Bytes of the videos in a cache."""
    return sum(file.stat().st_size for file in folder.rglob("*.clip"))


ROWS = (
    Row("cached-read", "cached clip read", "memcpy of the same bytes", 1.5, cached_read),
    Row(
        "first-pass",
        "first pass (decode, resize, audio, write cache)",
        "decord alone in as many threads as cores, same frames",
        1.25,
        first_pass,
    ),
    Row(
        "shared-pages",
        "memory of the cache's pages with two trial processes (proportional set size)",
        "with one",
        1.05,
        shared_pages,
    ),
    Row(
        "many-videos",
        "a step over 100,000 videos, cold cache on disk",
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
