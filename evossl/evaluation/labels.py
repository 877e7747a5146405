"""Labels: who has one, and tables (CSV, Parquet) that give labels or splits to videos by path.

Shapes: N labelled clip.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from evossl.errors import UserError
from evossl.evaluation.protocol import Ints
from evossl.evaluation.splits import Fold, require_classes
from evossl.naming import unknown

Column = Sequence[str | None]


@dataclass(frozen=True)
class Labelled:
    """The videos that have a label.

    Attributes:
        videos: row of each among all readable videos, ascending.
        labels: class of each.
        groups: what must stay together of each; its own where the data name none.
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


def labelled(labels: Column, groups: Column) -> Labelled:
    """Return the videos with a label; None and "" are none, and are counted.

    Args:
        labels: of all readable videos, in the loader's order.
        groups: of all readable videos; None is a group of its own.

    Raises:
        UserError: fewer than two classes.
    """
    videos = tuple(row for row, label in enumerate(labels) if label)
    found = Labelled(
        videos=videos,
        labels=tuple(str(labels[row]) for row in videos),
        groups=tuple(f"group {groups[row]}" if groups[row] else f"row {row}" for row in videos),
        num_unlabelled=len(labels) - len(videos),
    )
    require_classes(found.labels)
    return found


def read_table(file: Path) -> dict[str, list[str | None]]:
    """Return the columns of a CSV (with a header) or Parquet file as strings; empty cells are None.

    Raises:
        UserError: no such file, not a table.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        if file.suffix == ".parquet":
            columns = parquet.read_table(file).to_pydict()
        else:
            columns = _read_csv(file)
    except (pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a CSV or Parquet table: {error}") from error
    return {
        str(name): [None if cell in (None, "") else str(cell) for cell in cells]
        for name, cells in columns.items()
    }


def _read_csv(file: Path) -> dict[str, list[str]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, strict=True)
        rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise csv.Error(f"row {number} has more cells than the header")
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}


def labels_from(file: Path, column: str, paths: Sequence[str]) -> list[str | None]:
    """Return the label of each video in `column` of a table that has a `path` column.

    Args:
        file: CSV or Parquet.
        column: for example "motion" of the `labels.parquet` that `evossl synth` writes.
        paths: of all readable videos.

    Raises:
        UserError: no such file or column, or no path of it is among the videos.
    """
    table = read_table(file)
    labels: list[str | None] = [None] * len(paths)
    cells = _column(table, column, file)
    for row, label in zip(_rows(table, paths, file), cells, strict=True):
        if row is not None:
            labels[row] = label
    return labels


def split_from(file: Path, paths: Sequence[str], data: Labelled) -> tuple[Labelled, list[Fold]]:
    """Return the folds that a table prescribes, and the labelled videos that it has.

    A column `split` of "train" and "test" gives one fold, a column `fold` a fold for each of its
    values. Videos that the table does not have are left out.

    Raises:
        UserError: no such file or column, another word in `split`, an empty side, a group on both
            sides, fewer than two classes.
    """
    table = read_table(file)
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


def _check_fold(fold: Fold, data: Labelled, file: Path) -> None:
    if not len(fold.test_idx) or not len(fold.train_idx):
        raise UserError(f"{file}: a side without labelled clips; give train and test clips")
    require_classes([data.labels[i] for i in fold.train_idx])
    train = {data.groups[i] for i in fold.train_idx}
    both = sorted(train & {data.groups[i] for i in fold.test_idx})
    if both:
        raise UserError(
            f"{file}: {both[0]} stands on both sides: put all its clips into train or into test, "
            "or correct its group"
        )


def _column(table: dict[str, list[str | None]], name: str, file: Path) -> list[str | None]:
    if name not in table:
        raise UserError(f"{file}: {unknown('column', name, table)}")
    return table[name]


def _rows(table: dict[str, list[str | None]], paths: Sequence[str], file: Path) -> list[int | None]:
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
