"""The labelled videos of a data set, and splits that a table (CSV or Parquet) prescribes.

Shapes: N labelled clip.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from evossl.data.index.sources import read_table
from evossl.errors import UserError, unknown
from evossl.evaluation.fold_data import Ints
from evossl.evaluation.splits import Fold, require_classes

Table = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class VideoSubset:
    """Videos that a classifier is trained or tested on.

    Attributes:
        videos: rows of the loader.
        class_N: int64, index into `classes` of each video.
        classes: names.
    """

    videos: Sequence[int]
    class_N: Ints
    classes: Sequence[str]


@dataclass(frozen=True)
class LabelledVideos:
    """The videos that have a label.

    Attributes:
        videos: row of each among all readable videos, ascending.
        labels: class of each.
        groups: group of each (`Video.group`); videos of one group must stay together.
        num_unlabelled: number of readable videos left out because they have no label.
    """

    videos: tuple[int, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    num_unlabelled: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def class_N(self) -> Ints:
        """Index of each video's class in `classes`."""
        return np.unique(np.array(self.labels), return_inverse=True)[1].astype(np.int64)

    @property
    def group_N(self) -> Ints:
        """Number of each video's group."""
        return np.unique(np.array(self.groups), return_inverse=True)[1].astype(np.int64)

    def subset(self, rows: Ints | None = None) -> VideoSubset:
        """Return these rows (all by default); `classes` stays that of all rows."""
        rows = np.arange(len(self.videos)) if rows is None else rows
        return VideoSubset([self.videos[i] for i in rows], self.class_N[rows], self.classes)


def labelled_videos(labels: Sequence[str | None], groups: Sequence[str]) -> LabelledVideos:
    """Return the videos that have a label, and the number that have none (None or "").

    Args:
        labels: of all readable videos, in the loader's order.
        groups: of all readable videos, in the same order (`Video.group`).

    Raises:
        UserError: fewer than two classes.
    """
    videos = tuple(row for row, label in enumerate(labels) if label)
    data = LabelledVideos(
        videos=videos,
        labels=tuple(str(labels[row]) for row in videos),
        groups=tuple(groups[row] for row in videos),
        num_unlabelled=len(labels) - len(videos),
    )
    require_classes(data.labels)
    return data


def read_split(
    file: str, paths: Sequence[str], data: LabelledVideos
) -> tuple[LabelledVideos, list[Fold]]:
    """Return the labelled videos that a table lists, and the folds that it prescribes.

    A column `split` of "train" and "test" gives one fold; a column `fold` gives one fold for each
    of its values. A path in the table may be the end of a video's path ("run/a.mp4").

    Raises:
        UserError: no such file or column, another word in `split`, an empty side, a group on both
            sides, or fewer than two classes.
    """
    table = _read_strings(file)
    name = "split" if "split" in table else "fold"
    cells = _column(table, name, file)
    side_of = dict(zip(_match_paths(table, paths, file), cells, strict=True))
    listed = [i for i, video in enumerate(data.videos) if side_of.get(video)]
    sides = np.array([side_of[data.videos[i]] for i in listed])
    chosen = LabelledVideos(
        videos=tuple(data.videos[i] for i in listed),
        labels=tuple(data.labels[i] for i in listed),
        groups=tuple(data.groups[i] for i in listed),
        num_unlabelled=data.num_unlabelled,
    )
    if name == "split":
        for word in sorted(set(sides.tolist()) - {"train", "test"}):
            raise UserError(f"{file}: {unknown('split', word, ['train', 'test'])}")
    tests = [sides == word for word in (["test"] if name == "split" else sorted(set(sides)))]
    folds = [Fold(np.flatnonzero(~test_N), np.flatnonzero(test_N)) for test_N in tests]
    for fold in folds:
        _check_fold(fold, chosen, file)
    return chosen, folds


def _check_fold(fold: Fold, data: LabelledVideos, file: str) -> None:
    if not len(fold.test_idx) or not len(fold.train_idx):
        raise UserError(f"{file}: a side has no labelled clips; list both train and test clips")
    require_classes([data.labels[i] for i in fold.train_idx])
    train_groups = {data.groups[i] for i in fold.train_idx}
    both = sorted(train_groups & {data.groups[i] for i in fold.test_idx})
    if both:
        raise UserError(
            f"{file}: group {both[0]!r} is on both sides; put all its clips into train or all into "
            "test, or correct its group"
        )


def _read_strings(file: str) -> Table:
    """Return a table's cells as text; empty ones are None."""
    return {
        name: [None if cell in (None, "") else str(cell) for cell in cells]
        for name, cells in read_table(file).to_pydict().items()
    }


def _column(table: Table, name: str, file: str) -> Sequence[str | None]:
    if name not in table:
        raise UserError(f"{file}: {unknown('column', name, table)}")
    return table[name]


def _match_paths(table: Table, paths: Sequence[str], file: str) -> list[int | None]:
    """Return the video of each row of a table, whose path may be the end of one video's path."""
    by_end: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        parts = PurePosixPath(path).parts
        for start in range(len(parts)):
            by_end[parts[start:]].append(row)
    rows: list[int | None] = []
    for entry in _column(table, "path", file):
        matches = by_end.get(PurePosixPath(entry or "").parts, [])
        if len(matches) > 1:
            raise UserError(
                f"{file}: path {entry!r} fits {len(matches)} videos; write the whole path"
            )
        rows.append(matches[0] if matches else None)
    if not any(row is not None for row in rows):
        example = table["path"][0] if rows else "none"
        raise UserError(
            f"{file}: none of its paths ({example}, ...) is among the {len(paths)} readable "
            "videos; write them as in the videos' manifest"
        )
    return rows
