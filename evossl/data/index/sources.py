"""The files of a source (a folder tree, a glob or a manifest), with their labels and groups."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evossl.errors import RunError, UserError
from evossl.io.parquet import SINGLE_THREADED
from evossl.io.remote import file_system, is_url, normal_path

EXTENSIONS = frozenset(
    (
        "3gp",
        "asf",
        "avi",
        "flv",
        "m2ts",
        "m4v",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "ogv",
        "vob",
        "webm",
        "wmv",
    )
)
EXTENSIONS_HELP = (
    f"extensions: {', '.join(sorted(EXTENSIONS))}; a manifest can list files of any name"
)
MANIFEST_SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes:
        path: absolute local path, or URL.
        label: class, or None.
        group: videos of one group are never divided by a split; by default the path below the
            source, so that a folder that is moved is split as before.
        extra: further columns of a manifest.
        fault: why it cannot even be probed (a folder that cannot be listed), or None.
    """

    path: str
    label: str | None = None
    group: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


def scan(source: str) -> list[SourceFile]:
    """Return the videos of `source`, sorted by path, or in the order of a manifest.

    In a folder tree, files with the extension of a video are taken; hidden ones are not. Links are
    followed. The label is the name of a video's first folder below the root, after the levels that
    all videos share.

    Args:
        source: folder, glob, video, or manifest (.parquet or .csv with the column `path` and
            optionally `label`, `group` and others); local or an fsspec URL.

    Raises:
        UserError: it does not exist, has no videos, or is a manifest without `path`.
    """
    source = normal_path(source)
    if source.endswith(MANIFEST_SUFFIXES):
        return read_manifest(source)
    root, paths, faults = _list_remote(source) if is_url(source) else _list_local(source)
    videos = sorted(path for path in paths if _is_video(path))
    if not videos and not faults:
        raise UserError(f"{source}: no videos here ({EXTENSIONS_HELP})")
    labels = _labels(root, videos)
    pairs = zip(videos, labels, strict=True)
    return [SourceFile(path, label, _below(root, path)) for path, label in pairs] + faults


def _is_video(path: str) -> bool:
    name = PurePosixPath(path).name
    return not name.startswith(".") and name.rpartition(".")[2].lower() in EXTENSIONS


def _list_local(source: str) -> tuple[str, list[str], list[SourceFile]]:
    """Return the root, the files below it, and the folders that cannot be listed."""
    if Path(source).is_file():
        if not _is_video(source):
            raise UserError(
                f"{source}: is a file without the extension of a video ({EXTENSIONS_HELP})"
            )
        return str(Path(source).parent), [source], []
    if Path(source).is_dir():
        return source, *_walk(source)
    if glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute
        files = [path for path in matches if Path(path).is_file()]
        plain = Path(*_before_magic(Path(source).parts))
        return str(plain), files, []
    raise UserError(f"{source}: no such folder, file or glob")


def _before_magic(parts: Sequence[str]) -> list[str]:
    """Return the leading folders of a glob that contain no wildcard."""
    with_magic = (number for number, part in enumerate(parts) if glob.has_magic(part))
    return list(parts[: next(with_magic)])


def _walk(root: str) -> tuple[list[str], list[SourceFile]]:
    files: list[str] = []
    faults: list[SourceFile] = []
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        faults.append(SourceFile(str(error.filename), fault=f"cannot be listed: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a circle of links
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [os.path.join(folder, name) for name in names]  # noqa: PTH118 - fast
    return files, faults


def _list_remote(source: str) -> tuple[str, list[str], list[SourceFile]]:
    system = file_system(source)
    try:
        if glob.has_magic(source):
            root = "/".join(_before_magic(source.split("/")))
            found: Iterable[str] = system.glob(source)
        else:
            root, found = source, system.find(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: cannot be listed: {error}") from error
    urls = [system.unstrip_protocol(path) for path in found]
    if not urls:
        raise UserError(f"{source}: no such folder, or nothing in it")
    return system.unstrip_protocol(system._strip_protocol(root)), urls, []


def _labels(root: str, videos: Sequence[str]) -> list[str | None]:
    """Return each video's first folder below the root, after those that all share, or None."""
    folders = [_below(root, path).split("/")[:-1] for path in videos]
    depth = 0
    while len({tuple(parts[: depth + 1]) for parts in folders}) == 1 and all(
        len(parts) > depth + 1 for parts in folders
    ):
        depth += 1
    return [parts[depth] if len(parts) > depth else None for parts in folders]


def _below(root: str, path: str) -> str:
    """Return the path relative to the root, or unchanged if it is not below the root."""
    return path.removeprefix(root.rstrip("/") + "/")


def read_manifest(source: str) -> list[SourceFile]:
    """Return the rows of a manifest; relative paths are relative to its folder.

    Raises:
        UserError: it cannot be read, has no column `path` or no rows, or lists a path twice with
            different columns.
    """
    table = read_table(source)
    if "path" not in table.column_names:
        names = ", ".join(table.column_names)
        raise UserError(f"{source}: no column 'path'; its columns are: {names or 'none'}")
    base = source.rpartition("/")[0]
    found: dict[str, SourceFile] = {}
    for row in table.to_pylist():
        path, label, group = (_text(row.pop(name, None)) for name in ("path", "label", "group"))
        if not path:
            raise UserError(f"{source}: row {len(found) + 1} has no path")
        if not is_url(path) and not os.path.isabs(os.path.expanduser(path)):  # noqa: PTH111, PTH117
            path = f"{base}/{path}"
        path = normal_path(path)
        entry = SourceFile(path, label, group or _below(base, path), row)
        if found.setdefault(entry.path, entry) != entry:
            raise UserError(
                f"{source}: {entry.path} is listed twice with different columns; keep one row"
            )
    if not found:
        raise UserError(f"{source}: the manifest has no rows")
    return list(found.values())


def read_table(source: str) -> pa.Table:
    """Return a Parquet or CSV file as a table.

    Raises:
        UserError: no such file, or its content does not match its extension.
    """
    try:
        with fsspec.open(source, "rb") as file:
            if source.endswith(".csv"):
                return pyarrow.csv.read_csv(file)
            return pyarrow.parquet.read_table(pa.BufferReader(file.read()), **SINGLE_THREADED)
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{source}: is a folder; name a .csv or .parquet file") from error
    except (pa.ArrowInvalid, ImportError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not a table: {error}") from error
    except OSError as error:
        raise RunError(f"{source}: cannot be read: {error}") from error


def _text(value: Any) -> str | None:
    """Return a cell as text: a label may be a number in the file."""
    return None if value is None or value == "" else str(value)
