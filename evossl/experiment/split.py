"""The videos of a run: which it trains on, and which it holds out for the fitness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, Video, load_index
from evossl.data.loader import ClipLoader
from evossl.errors import UserError
from evossl.rng import derive_seed
from evossl.types import Progress, Stream

HELD_OUT_SHARE = 1 / 3
DECODE_BATCH = 16  # videos decoded between two calls of a progress callback
MIN_VIDEOS = 24  # 16 to train on and 8 held out; clusters of fewer mean nothing
MIN_TRAIN_VIDEOS = 16


@dataclass(frozen=True)
class Split:
    """Rows of the videos: those trained on, and those held out for the fitness."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_videos(videos: Sequence[Video], max_held_out: int) -> Split:
    """Hold out a third of the videos, at most `max_held_out`; a group is never divided.

    The split depends on the groups' names only, so every process and every resume makes the same.

    Raises:
        UserError: too few videos, or too few groups.
    """
    if len(videos) < MIN_VIDEOS:
        raise UserError(
            f"{len(videos)} readable videos; a run needs at least {MIN_VIDEOS}: add videos"
        )
    groups: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        groups.setdefault(video.group, []).append(row)
    wanted = min(max_held_out, round(len(videos) * HELD_OUT_SHARE))
    train: list[int] = []
    held_out: list[int] = []
    for group in sorted(groups, key=lambda name: (derive_seed("split", name), name)):
        (held_out if len(held_out) < wanted else train).extend(groups[group])
    if len(train) < MIN_TRAIN_VIDEOS:
        raise UserError(
            f"{len(groups)} groups of videos: too few to hold some out; give the manifest a finer "
            "`group` column"
        )
    return Split(tuple(sorted(train)), tuple(sorted(held_out)))


def quarantine_undecodable(
    index: Index, cache: ClipCache, max_held_out: int, progress: Progress | None = None
) -> Index:
    """Return the index with held-out videos quarantined that were probed but cannot be decoded.

    A training batch replaces a video that fails; the fitness cannot, because every trial must be
    scored on the same clips. With a filled cache this is fast.

    Args:
        index: of the run.
        cache: the clip cache.
        max_held_out: as in `split_videos`.
        progress: called with (videos decoded, held-out videos).

    Raises:
        UserError: as `split_videos`, for the remaining videos.
        RunError: the disk is full.
    """
    while True:
        videos = index.videos
        held_out = [videos[row] for row in split_videos(videos, max_held_out).held_out]
        faults: dict[str, str] = {}
        for start in range(0, len(held_out), DECODE_BATCH):
            faults |= cache.prepare(held_out[start : start + DECODE_BATCH])
            if progress:
                progress(min(start + DECODE_BATCH, len(held_out)), len(held_out))
        if not faults:
            return index
        index = index.quarantine(faults)


@dataclass(frozen=True)
class RunData:
    """Loaders over the training videos and over the held-out ones, and the videos themselves."""

    train: ClipLoader
    held_out: ClipLoader
    train_videos: tuple[Video, ...]
    held_out_videos: tuple[Video, ...]


def open_data(manifest: Path, cache: Path, space: SearchSpace, seed: int) -> RunData:
    """Open a run's videos.

    Videos that are missing from the cache are decoded by as many processes as torch has threads.

    Args:
        manifest: the index file.
        cache: folder of the clip cache.
        space: of the run.
        seed: of the order of the training clips.
    """
    videos = load_index(manifest).videos
    split = split_videos(videos, space.fitness.clips)
    store = ClipCache(cache, space.cache, workers=torch.get_num_threads())

    def load(rows: tuple[int, ...]) -> tuple[ClipLoader, tuple[Video, ...]]:
        part = tuple(videos[row] for row in rows)
        loader = ClipLoader(
            store,
            part,
            stretch=space.clip.stretch,
            batch_size=min(space.training.batch_size, len(part)),
            seed=seed,
            sound=Stream.AUDIO in space.streams,
        )
        return loader, part

    (train, train_videos), (held_out, held_out_videos) = load(split.train), load(split.held_out)
    return RunData(train, held_out, train_videos, held_out_videos)
