"""The index: one row for every file seen, readable or set aside with its reason.

Every file is probed once, in a worker process with a deadline. A second run probes only what is
new or changed (size, time), and files whose fault may pass (a deadline, a dead worker, a network).
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from evossl.data.index.sources import Found, read_table, scan
from evossl.data.workers.jobs import PROBE, run_jobs
from evossl.data.workers.pool import Job, WorkerPool
from evossl.errors import RunError, UserError, unknown
from evossl.io.parquet import write_parquet
from evossl.io.remote import Stamp, normal_path, stamp_of

Progress = Callable[[int, int], None]
Row = dict[str, Any]

VERSION = b"1"  # of the columns and of what a probe says: another one probes anew
_VERSION_KEY = b"evossl.index"
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("retryable", pa.bool_()),
        ("seconds", pa.float64()),
        ("fps", pa.float64()),
        ("num_frames", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("codec", pa.string()),
        ("audio_codec", pa.string()),
        ("audio_rate", pa.int64()),
        ("label", pa.string()),
        ("group", pa.string()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
    ],
    metadata={_VERSION_KEY: VERSION},
)
_PROBED = ("seconds", "fps", "num_frames", "width", "height", "codec", "audio_codec", "audio_rate")
_VERDICT = ("status", "reason", "retryable", *_PROBED)


@dataclass(frozen=True)
class Video:
    """A readable video.

    Attributes:
        path: absolute local path, or URL.
        label: class, or None.
        group: what a split must keep together; where none is given, the path below the source.
        seconds: what can be read. fps: frames a second of the file. num_frames: of the file.
        width, height: of the upright image, in pixels.
        has_audio: there is a sound track.
        bytes, mtime_ns: size and last change of the file, part of the cache's key.
    """

    path: str
    label: str | None
    group: str
    seconds: float
    fps: float
    num_frames: int
    width: int
    height: int
    has_audio: bool
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Index:
    """The table `manifest.parquet`: `SCHEMA` and whatever columns the source brought along."""

    table: pa.Table

    @cached_property
    def videos(self) -> list[Video]:
        """The readable videos, in the source's order."""
        return [_video(row) for row in self._rows("ok")]

    @property
    def quarantined(self) -> list[tuple[str, str]]:
        """(path, reason) of every file that was set aside."""
        return [(row["path"], row["reason"]) for row in self._rows("quarantined")]

    def labels(self, column: str = "label") -> list[str | None]:
        """Return the label of each of `videos`; None where one has none.

        Raises:
            UserError: no such column, or nothing in it; the message has the columns there are.
        """
        reserved = {*SCHEMA.names} - {"label", "group"}
        columns = [name for name in self.table.column_names if name not in reserved]
        filled = [name for name in columns if self.table[name].null_count < len(self.table)]
        if column not in filled:
            raise UserError(
                f"{unknown('label column', column, filled)}. Labels come from class "
                "folders, or from a manifest (.csv, .parquet: path, label, ...) given as the source"
            )
        values = [row[column] for row in self._rows("ok")]
        return [None if value is None else str(value) for value in values]

    def summary(self) -> str:
        """Return one line: "120 videos, 3 set aside: 2 truncated, 1 empty"."""
        kinds = Counter(reason.split(":")[0] for _, reason in self.quarantined)
        aside = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        count = len(self._rows("ok"))
        text = f"{count} video{'' if count == 1 else 's'}"
        return f"{text}, {kinds.total()} set aside: {aside}" if aside else text

    def set_aside(self, faults: Mapping[str, str]) -> "Index":
        """Return the index with the videos at some paths ({path: reason}) quarantined too.

        They are probed anew when the source is indexed again: their fault may have passed.
        """
        rows = [
            row | _aside(faults[row["path"]], retryable=True)
            if row["status"] == "ok" and row["path"] in faults
            else row
            for row in self.table.to_pylist()
        ]
        return Index(pa.Table.from_pylist(rows, schema=self.table.schema))

    def save(self, path: Path) -> None:
        """Write the manifest whole or not at all.

        Raises:
            RunError: the disk is full or the folder cannot be written; an old file is untouched.
        """
        write_parquet(path, self.table)

    def _rows(self, status: str) -> list[Row]:
        return [row for row in self.table.to_pylist() if row["status"] == status]


def build_index(
    source: str,
    out: Path | None = None,
    *,
    workers: int = 2,
    deadline: float = 20.0,
    progress: Progress | None = None,
) -> Index:
    """Return the index of every video of `source`, and write it to `out`.

    Args:
        source: folder, glob, manifest or video, local or an fsspec URL (`scan`); an index given as
            the source, or found at `out`, saves the probing of what has not changed.
        out: where the manifest goes; None writes nothing.
        workers: processes that probe.
        deadline: seconds that a file may take before it is set aside.
        progress: called with (files done, files in all).

    Raises:
        UserError: the source is missing, has no videos, or is a manifest without `path`.
        RunError: not one file can be read, or `out` cannot be written.
    """
    found = scan(source)
    stamps = [Stamp(fault=entry.fault) if entry.fault else stamp_of(entry.path) for entry in found]
    known = _known(source) | (_known(str(out)) if out is not None and out.exists() else {})
    verdicts = [
        _verdict_without_probe(entry, stamp, known)
        for entry, stamp in zip(found, stamps, strict=True)
    ]
    pool = WorkerPool(PROBE, workers=workers, deadline=deadline)
    try:
        _probe(pool, found, verdicts, progress)
    finally:
        pool.close()
    index = Index(_table(found, stamps, verdicts))
    if out is not None:
        index.save(out)
    if not index.videos:
        raise RunError(f"{source}: no video can be read: {index.summary()}")
    return index


def load_index(path: str | Path) -> Index:
    """Return a manifest that `build_index` has written.

    Raises:
        UserError: no such file, or not an index.
    """
    table = read_table(normal_path(str(path)))
    if (table.schema.metadata or {}).get(_VERSION_KEY) != VERSION:
        raise UserError(f"{path}: not an index of this version; make it with `evossl index`")
    return Index(table)


def _known(source: str) -> dict[str, Row]:
    """The rows of an earlier index by path; none if the file is not an index."""
    if not source.endswith(".parquet"):
        return {}
    try:
        rows = load_index(source).table.to_pylist()
    except UserError:
        return {}
    return {row["path"]: row for row in rows}


def _verdict_without_probe(found: Found, stamp: Stamp, known: Mapping[str, Row]) -> Row | None:
    """What is known of a file before it is opened, or None if it must be probed."""
    if stamp.fault is not None:
        return _aside(stamp.fault, retryable=True)
    if _utf8(found.path) != found.path:
        return _aside("unreadable name: not UTF-8; rename the file", retryable=True)
    row = known.get(found.path)
    if (
        row is None
        or row["retryable"]
        or (row["bytes"], row["mtime_ns"])
        != (
            stamp.bytes,
            stamp.mtime_ns,
        )
    ):
        return None
    return {name: row[name] for name in _VERDICT}


def _probe(
    pool: WorkerPool,
    found: Sequence[Found],
    verdicts: list[Row | None],
    progress: Progress | None,
) -> None:
    """Fill in the verdicts that are None."""
    jobs = [Job(i, found[i].path) for i, verdict in enumerate(verdicts) if verdict is None]
    done = len(found) - len(jobs)
    for outcome in run_jobs(pool, jobs):
        if outcome.value is not None:
            verdicts[outcome.number] = {"status": "ok", "retryable": False, **outcome.value}
        else:
            verdicts[outcome.number] = _aside(outcome.reason or "unknown", outcome.retryable)
        done += 1
        if progress is not None:
            progress(done, len(found))


def _aside(reason: str, retryable: bool) -> Row:
    return {"status": "quarantined", "reason": _utf8(reason), "retryable": retryable}


def _utf8(text: str) -> str:
    """Parquet holds UTF-8 only: bytes of a name that are not come out as escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _table(
    found: Sequence[Found], stamps: Sequence[Stamp], verdicts: Sequence[Row | None]
) -> pa.Table:
    rows = [
        {
            "path": _utf8(entry.path),
            **(verdict or {}),
            "label": entry.label if entry.label is None else _utf8(entry.label),
            "group": _utf8(entry.group or entry.path),
            "bytes": stamp.bytes,
            "mtime_ns": stamp.mtime_ns,
        }
        for entry, stamp, verdict in zip(found, stamps, verdicts, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    extra = {name: None for entry in found for name in entry.extra if name not in SCHEMA.names}
    for name in extra:
        table = table.append_column(name, pa.array([entry.extra.get(name) for entry in found]))
    return table


def _video(row: Row) -> Video:
    names = [name for name in Video.__dataclass_fields__ if name != "has_audio"]
    return Video(**{name: row[name] for name in names}, has_audio=row["audio_codec"] is not None)
