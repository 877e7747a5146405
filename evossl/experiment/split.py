"""The data of a run: which videos are trained on and which are only scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, Video, load_index
from evossl.data.loader import ClipLoader
from evossl.errors import UserError
from evossl.rng import derive_seed
from evossl.types import Stream

SCORED_SHARE = 1 / 3
PREPARED_AT_ONCE = 16
MIN_VIDEOS = 24  # 16 to train on, 8 to score: below, no clustering means anything


@dataclass(frozen=True)
class Split:
    """Rows of the videos: trained on, and held out for the fitness."""

    train: tuple[int, ...]
    scored: tuple[int, ...]


def split_videos(videos: Sequence[Video], max_scored: int) -> Split:
    """Hold out a third of the videos, at most `max_scored`; a group is never on both sides.

    A function of the groups' names alone, so that every process and every resume splits alike.

    Raises:
        UserError: too few videos, or all in one group.
    """
    if len(videos) < MIN_VIDEOS:
        raise UserError(f"{len(videos)} readable videos; a run needs at least {MIN_VIDEOS}")
    groups: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        groups.setdefault(video.group, []).append(row)
    wanted = min(max_scored, round(len(videos) * SCORED_SHARE))
    train: list[int] = []
    scored: list[int] = []
    for group in sorted(groups, key=lambda name: (derive_seed("split", name), name)):
        (scored if len(scored) < wanted else train).extend(groups[group])
    if len(train) < MIN_VIDEOS - MIN_VIDEOS // 3:
        raise UserError(
            f"{len(groups)} groups of videos: too few to hold some out; give the manifest a finer "
            "`group` column"
        )
    return Split(tuple(sorted(train)), tuple(sorted(scored)))


def set_aside_unscorable(
    index: Index,
    store: ClipCache,
    max_scored: int,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Return the index without held-out videos that the probe believes and that cannot be decoded.

    A training batch takes another video in the place of one that fails; the fitness cannot: every
    trial must be scored on the same clips. A cache that is filled makes this cheap.

    Args:
        index: of the run.
        store: the clip cache.
        max_scored: as for `split_videos`.
        progress: called with (videos decoded, held-out videos).

    Raises:
        UserError: as `split_videos`, of what is left.
        RunError: the disk is full.
    """
    while True:
        videos = index.videos
        scored = [videos[row] for row in split_videos(videos, max_scored).scored]
        faults: dict[str, str] = {}
        for start in range(0, len(scored), PREPARED_AT_ONCE):
            faults |= store.prepare(scored[start : start + PREPARED_AT_ONCE])
            if progress:
                progress(min(start + PREPARED_AT_ONCE, len(scored)), len(scored))
        if not faults:
            return index
        index = index.set_aside(faults)


@dataclass(frozen=True)
class RunData:
    """What a process needs of the data: loaders over the trained and over the scored videos."""

    train: ClipLoader
    scored: ClipLoader
    train_videos: tuple[Video, ...]
    scored_videos: tuple[Video, ...]


@lru_cache(maxsize=4)
def open_data(manifest: Path, cache: Path, space_json: str, seed: int) -> RunData:
    """Open a run's videos; kept open, so that a warm worker's next trial starts at once.

    What is not in the cache is decoded by as many processes as there are threads that compute.

    Args:
        manifest: of the index.
        cache: folder of the clip cache.
        space_json: the space as JSON (hashable, where the model is not).
        seed: of the order of the training clips.
    """
    space = SearchSpace.model_validate_json(space_json)
    videos = load_index(manifest).videos
    split = split_videos(videos, space.fitness.clips)
    store = ClipCache(cache, space.cache, workers=torch.get_num_threads())
    train, scored = (tuple(videos[row] for row in rows) for rows in (split.train, split.scored))
    loaders = [
        ClipLoader(
            store,
            part,
            stretch=space.clip.stretch,
            batch_size=min(space.training.batch_size, len(part)),
            seed=seed,
            sound=Stream.AUDIO in space.streams,
        )
        for part in (train, scored)
    ]
    return RunData(loaders[0], loaders[1], train, scored)
