"""Labels: which videos have one, and splits that a table (CSV, Parquet) prescribes.

Shapes: N labelled clip.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from evossl.data.index.sources import read_table
from evossl.errors import UserError, unknown
from evossl.evaluation.protocol import Ints
from evossl.evaluation.splits import Fold, require_classes

Table = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Labelled:
    """The videos that have a label.

    Attributes:
        videos: row of each among all readable videos, ascending.
        labels: class of each.
        groups: what must stay together of each; `Video.group`.
        num_unlabelled: readable videos left out because they have no label.
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
        """Index of each clip's class in `classes`."""
        return np.unique(np.array(self.labels), return_inverse=True)[1].astype(np.int64)

    @property
    def group_N(self) -> Ints:
        """Number of each clip's group."""
        return np.unique(np.array(self.groups), return_inverse=True)[1].astype(np.int64)


def labelled(labels: Sequence[str | None], groups: Sequence[str]) -> Labelled:
    """Return the videos with a label; None and "" are none, and are counted.

    Args:
        labels: of all readable videos, in the loader's order.
        groups: of all readable videos, in the same order: `Video.group`.

    Raises:
        UserError: fewer than two classes.
    """
    videos = tuple(row for row, label in enumerate(labels) if label)
    found = Labelled(
        videos=videos,
        labels=tuple(str(labels[row]) for row in videos),
        groups=tuple(groups[row] for row in videos),
        num_unlabelled=len(labels) - len(videos),
    )
    require_classes(found.labels)
    return found


def split_from(file: str, paths: Sequence[str], data: Labelled) -> tuple[Labelled, list[Fold]]:
    """Return the folds that a table prescribes, and the labelled videos that it has.

    A column `split` of "train" and "test" gives one fold, a column `fold` a fold for each of its
    values. A row's path may be the end of a video's ("run/a.mp4"). Videos that the table does not
    have are left out.

    Raises:
        UserError: no such file or column, another word in `split`, an empty side, a group on both
            sides, fewer than two classes.
    """
    table = _strings(file)
    name = "split" if "split" in table else "fold"
    cells = _column(table, name, file)
    side_of = dict(zip(_rows(table, paths, file), cells, strict=True))
    keep = [i for i, video in enumerate(data.videos) if side_of.get(video)]
    sides = np.array([side_of[data.videos[i]] for i in keep])
    kept = Labelled(
        videos=tuple(data.videos[i] for i in keep),
        labels=tuple(data.labels[i] for i in keep),
        groups=tuple(data.groups[i] for i in keep),
        num_unlabelled=data.num_unlabelled,
    )
    if name == "split":
        for word in sorted(set(sides.tolist()) - {"train", "test"}):
            raise UserError(f"{file}: {unknown('split', word, ['train', 'test'])}")
    tests = [sides == word for word in (["test"] if name == "split" else sorted(set(sides)))]
    folds = [Fold(np.flatnonzero(~test_N), np.flatnonzero(test_N)) for test_N in tests]
    for fold in folds:
        _check_fold(fold, kept, file)
    return kept, folds


def _check_fold(fold: Fold, data: Labelled, file: str) -> None:
    if not len(fold.test_idx) or not len(fold.train_idx):
        raise UserError(f"{file}: a side without labelled clips; give train and test clips")
    require_classes([data.labels[i] for i in fold.train_idx])
    train = {data.groups[i] for i in fold.train_idx}
    both = sorted(train & {data.groups[i] for i in fold.test_idx})
    if both:
        raise UserError(
            f"{file}: group {both[0]!r} stands on both sides: put all its clips into "
            "train or into test, or correct its group"
        )


def _strings(file: str) -> Table:
    """A table's cells as text; empty ones are None."""
    return {
        name: [None if cell in (None, "") else str(cell) for cell in cells]
        for name, cells in read_table(file).to_pydict().items()
    }


def _column(table: Table, name: str, file: str) -> Sequence[str | None]:
    if name not in table:
        raise UserError(f"{file}: {unknown('column', name, table)}")
    return table[name]


def _rows(table: Table, paths: Sequence[str], file: str) -> list[int | None]:
    """The video of each row of a table: by its whole path or, where one only fits, by its end."""
    by_end: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        parts = PurePosixPath(path).parts
        for start in range(len(parts)):
            by_end[parts[start:]].append(row)
    rows: list[int | None] = []
    for entry in _column(table, "path", file):
        found = by_end.get(PurePosixPath(entry or "").parts, [])
        if len(found) > 1:
            raise UserError(f"{file}: path {entry!r} fits {len(found)} videos; write it out")
        rows.append(found[0] if found else None)
    if not any(row is not None for row in rows):
        example = table["path"][0] if rows else "none"
        raise UserError(
            f"{file}: none of its paths ({example}, ...) is among the {len(paths)} readable videos"
        )
    return rows
