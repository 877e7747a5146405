"""The index: one row for every file found, readable or quarantined with the reason.

Every file is probed once, in a worker process with a deadline. A second run probes only files that
are new or changed (size, time), and those whose fault may be temporary (a deadline, a dead worker,
the network).
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from evossl.data.index.probe_job import PROBE_JOB
from evossl.data.index.sources import SourceFile, read_table, scan
from evossl.data.workers.job import FileJob
from evossl.data.workers.pool import WorkerPool
from evossl.errors import RunError, UserError, unknown
from evossl.io.parquet import write_parquet
from evossl.io.remote import FileStatus, file_status, normal_path
from evossl.types import Progress

Row = dict[str, Any]

FORMAT = b"2"  # of the columns and of the probe; an index of another format is not reused
_FORMAT_KEY = b"evossl.index"
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
    metadata={_FORMAT_KEY: FORMAT},
)
_PROBE_COLUMNS = (
    "seconds",
    "fps",
    "num_frames",
    "width",
    "height",
    "codec",
    "audio_codec",
    "audio_rate",
)
_VERDICT_COLUMNS = ("status", "reason", "retryable", *_PROBE_COLUMNS)


@dataclass(frozen=True)
class Video:
    """A readable video.

    Attributes:
        path: absolute local path, or URL.
        label: class, or None.
        group: videos of one group are never divided by a split; by default the path below the
            source, so that each video is a group of its own.
        seconds: length of the part that can be read.
        fps: frames per second of the file.
        num_frames: frames in the file.
        width: pixels of the upright image.
        height: likewise.
        has_audio: whether there is an audio track.
        bytes: size of the file, a part of the cache's key.
        mtime_ns: time of its last change, likewise.
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
    """The content of `manifest.parquet`: the columns of `SCHEMA` and further ones of the source."""

    table: pa.Table

    @cached_property
    def videos(self) -> list[Video]:
        """The readable videos, in the order of the source."""
        return [_video(row) for row in self._rows("ok")]

    @property
    def quarantined(self) -> list[tuple[str, str]]:
        """(path, reason) of every file that cannot be read."""
        return [(row["path"], row["reason"]) for row in self._rows("quarantined")]

    def labels(self, column: str = "label") -> list[str | None]:
        """Return the label of each of `videos`, None for a video without one.

        Raises:
            UserError: no such column, or an empty one; the message lists the columns.
        """
        reserved = {*SCHEMA.names} - {"label", "group"}
        columns = [name for name in self.table.column_names if name not in reserved]
        filled = [name for name in columns if self.table[name].null_count < len(self.table)]
        if column not in filled:
            raise UserError(
                f"{unknown('label column', column, filled)}. Labels come from class folders, or "
                "from a manifest given as the source (.csv or .parquet: path, label, ...)"
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

    def quarantine(self, faults: Mapping[str, str]) -> "Index":
        """Return the index with the videos of `faults` ({path: reason}) quarantined as well.

        They are probed again the next time the source is indexed.
        """
        rows = [
            row | _quarantine_verdict(faults[row["path"]], retryable=True)
            if row["status"] == "ok" and row["path"] in faults
            else row
            for row in self.table.to_pylist()
        ]
        return Index(pa.Table.from_pylist(rows, schema=self.table.schema))

    def save(self, path: Path) -> None:
        """Write the index to a Parquet file, atomically.

        Raises:
            RunError: the disk is full or the folder cannot be written; an old file is unchanged.
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
    """Return the index of the videos of `source`, and write it to `out`.

    Args:
        source: folder, glob, manifest or video, local or an fsspec URL (see `scan`). If the source
            is an index, or there is one at `out`, unchanged files are not probed again.
        out: path of the Parquet file, or None to write none.
        workers: number of worker processes.
        deadline: seconds that probing one file may take; one that takes longer is quarantined.
        progress: called after each probed file.

    Raises:
        UserError: the source is missing, has no videos, or is a manifest without `path`.
        RunError: no file can be read, or `out` cannot be written.
    """
    files = scan(source)
    statuses = [
        FileStatus(fault=file.fault) if file.fault else file_status(file.path) for file in files
    ]
    known = _known(source) | (_known(str(out)) if out is not None and out.exists() else {})
    verdicts = [
        _verdict_without_probe(file, status, known)
        for file, status in zip(files, statuses, strict=True)
    ]
    pool = WorkerPool(PROBE_JOB, workers=workers, deadline=deadline)
    try:
        _probe(pool, files, verdicts, progress)
    finally:
        pool.close()
    index = Index(_table(files, statuses, verdicts))
    if out is not None:
        index.save(out)
    if not index.videos:
        raise RunError(f"{source}: no video can be read: {index.summary()}")
    return index


def load_index(path: str | Path) -> Index:
    """Return an index that `build_index` has written.

    Raises:
        UserError: no such file, not an index, or an index of another format.
    """
    table = read_table(normal_path(str(path)))
    found = (table.schema.metadata or {}).get(_FORMAT_KEY)
    if found is None:
        raise UserError(f"{path}: not an index; create one with `evossl index VIDEOS`")
    if found != FORMAT:
        raise UserError(
            f"{path}: an index of format {found.decode()}, and this evossl reads format "
            f"{FORMAT.decode()}; create it again with `evossl index VIDEOS`"
        )
    return Index(table)


def _known(source: str) -> dict[str, Row]:
    """Return the rows of an earlier index by path; none if the file is not a current index."""
    if not source.endswith(".parquet"):
        return {}
    try:
        rows = load_index(source).table.to_pylist()
    except UserError:
        return {}
    return {row["path"]: row for row in rows}


def _verdict_without_probe(
    file: SourceFile, status: FileStatus, known: Mapping[str, Row]
) -> Row | None:
    """Return the verdict on a file that need not be probed, or None if it must be."""
    if status.fault is not None:
        return _quarantine_verdict(status.fault, retryable=True)
    if _utf8(file.path) != file.path:
        return _quarantine_verdict("unreadable name: not UTF-8; rename the file", retryable=True)
    row = known.get(file.path)
    if row is None or row["retryable"]:
        return None
    if (row["bytes"], row["mtime_ns"]) != (status.bytes, status.mtime_ns):
        return None
    return {name: row[name] for name in _VERDICT_COLUMNS}


def _probe(
    pool: WorkerPool,
    files: Sequence[SourceFile],
    verdicts: list[Row | None],
    progress: Progress | None,
) -> None:
    """Replace the verdicts that are None."""
    jobs = [FileJob(i, files[i].path) for i, verdict in enumerate(verdicts) if verdict is None]
    done = len(files) - len(jobs)
    for result in pool.run(jobs):
        if result.value is not None:
            verdicts[result.number] = {"status": "ok", "retryable": False, **result.value}
        else:
            verdicts[result.number] = _quarantine_verdict(
                result.reason or "unknown", result.retryable
            )
        done += 1
        if progress is not None:
            progress(done, len(files))


def _quarantine_verdict(reason: str, retryable: bool) -> Row:
    return {"status": "quarantined", "reason": _utf8(reason), "retryable": retryable}


def _utf8(text: str) -> str:
    """Return text that Parquet can store: bytes of a name that are not UTF-8 become escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _table(
    files: Sequence[SourceFile], statuses: Sequence[FileStatus], verdicts: Sequence[Row | None]
) -> pa.Table:
    rows = [
        {
            "path": _utf8(file.path),
            **(verdict or {}),
            "label": file.label if file.label is None else _utf8(file.label),
            "group": _utf8(file.group or file.path),
            "bytes": status.bytes,
            "mtime_ns": status.mtime_ns,
        }
        for file, status, verdict in zip(files, statuses, verdicts, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    extra = {name: None for file in files for name in file.extra if name not in SCHEMA.names}
    for name in extra:
        table = table.append_column(name, pa.array([file.extra.get(name) for file in files]))
    return table


def _video(row: Row) -> Video:
    names = [name for name in Video.__dataclass_fields__ if name != "has_audio"]
    return Video(**{name: row[name] for name in names}, has_audio=row["audio_codec"] is not None)
