"""The videos of a run: those it trains on, those it selects by, and those of the verdict."""

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

HELD_OUT_SHARE = 1 / 4  # for selection, and as many for the verdict
HELD_OUT_SHARE_WITHOUT_VERDICT = 1 / 3
DECODE_BATCH = 16  # videos decoded between two calls of a progress callback
MIN_VIDEOS = 24  # 16 to train on and 8 held out; clusters of fewer mean nothing
MIN_VIDEOS_FOR_VERDICT = 240  # a verdict on fewer than 60 clips could tell nothing
MIN_TRAIN_VIDEOS = 16


@dataclass(frozen=True)
class Split:
    """Rows of the videos: to train on, to select trials by, and to judge the exported encoder by.

    `verdict` is empty if there are too few videos for three sets.
    """

    train: tuple[int, ...]
    selection: tuple[int, ...]
    verdict: tuple[int, ...] = ()

    @property
    def held_out(self) -> tuple[int, ...]:
        """All rows that nothing is trained on."""
        return self.selection + self.verdict


def split_videos(videos: Sequence[Video], max_clips: int) -> Split:
    """Divide the videos into three disjoint sets; a group is never divided.

    Selection and verdict each get a quarter of the videos, at most `max_clips`. With fewer than 240
    videos, or with groups too large for three sets, there is no verdict set, and selection gets a
    third. The split depends on the groups' names only, so every process and every resume makes the
    same.

    Raises:
        UserError: too few videos, or too few groups.
    """
    if len(videos) < MIN_VIDEOS:
        raise UserError(
            f"{len(videos)} readable videos; a run needs at least {MIN_VIDEOS}: add videos"
        )
    if len(videos) >= MIN_VIDEOS_FOR_VERDICT:
        wanted = min(max_clips, round(len(videos) * HELD_OUT_SHARE))
        split = _divide(videos, wanted, wanted)
        if len(split.train) >= MIN_TRAIN_VIDEOS and len(split.verdict) >= wanted:
            return split
    split = _divide(videos, min(max_clips, round(len(videos) * HELD_OUT_SHARE_WITHOUT_VERDICT)), 0)
    if len(split.train) < MIN_TRAIN_VIDEOS:
        num_groups = len({video.group for video in videos})
        raise UserError(
            f"{num_groups} groups of videos: too few to hold some out; give the manifest a finer "
            "`group` column"
        )
    return split


def _divide(videos: Sequence[Video], num_selection: int, num_verdict: int) -> Split:
    """Fill the selection set with whole groups, then the verdict set; the rest is trained on."""
    groups: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        groups.setdefault(video.group, []).append(row)
    selection: list[int] = []
    verdict: list[int] = []
    train: list[int] = []
    for group in sorted(groups, key=lambda name: (derive_seed("split", name), name)):
        if len(selection) < num_selection:
            selection.extend(groups[group])
        elif len(verdict) < num_verdict:
            verdict.extend(groups[group])
        else:
            train.extend(groups[group])
    return Split(tuple(sorted(train)), tuple(sorted(selection)), tuple(sorted(verdict)))


def quarantine_undecodable(
    index: Index, cache: ClipCache, max_clips: int, progress: Progress | None = None
) -> Index:
    """Return the index with held-out videos quarantined that were probed but cannot be decoded.

    A training batch replaces a video that fails; the fitness cannot, because every trial must be
    scored on the same clips. With a filled cache this is fast.

    Args:
        index: of the run.
        cache: the clip cache.
        max_clips: as in `split_videos`.
        progress: called with (videos decoded, held-out videos).

    Raises:
        UserError: as `split_videos`, for the remaining videos.
        RunError: the disk is full.
    """
    while True:
        videos = index.videos
        held_out = [videos[row] for row in split_videos(videos, max_clips).held_out]
        faults: dict[str, str] = {}
        for start in range(0, len(held_out), DECODE_BATCH):
            faults |= cache.prepare(held_out[start : start + DECODE_BATCH])
            if progress:
                progress(min(start + DECODE_BATCH, len(held_out)), len(held_out))
        if not faults:
            return index
        index = index.quarantine(faults)


@dataclass(frozen=True)
class HeldOut:
    """Videos that encoders are scored on, and their loader."""

    loader: ClipLoader
    videos: tuple[Video, ...]


@dataclass(frozen=True)
class RunData:
    """A run's videos.

    Attributes:
        train: loader of the training videos.
        train_videos: the training videos.
        selection: what trials are scored on.
        verdict: what the exported encoder is judged on; None if there are too few videos.
    """

    train: ClipLoader
    train_videos: tuple[Video, ...]
    selection: HeldOut
    verdict: HeldOut | None

    @property
    def num_videos(self) -> int:
        """Number of all readable videos."""
        sets = [self.train_videos, self.selection.videos]
        return sum(map(len, sets)) + (len(self.verdict.videos) if self.verdict else 0)


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

    def load(rows: tuple[int, ...]) -> HeldOut:
        part = tuple(videos[row] for row in rows)
        loader = ClipLoader(
            store,
            part,
            stretch=space.clip.stretch,
            batch_size=min(space.training.batch_size, len(part)),
            seed=seed,
            sound=Stream.AUDIO in space.streams,
        )
        return HeldOut(loader, part)

    train = load(split.train)
    verdict = load(split.verdict) if split.verdict else None
    return RunData(train.loader, train.videos, load(split.selection), verdict)
