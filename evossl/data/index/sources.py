"""Sources: a folder tree, a glob or a manifest, as paths with labels and groups."""

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
from evossl.io.parquet import IN_THIS_THREAD
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
KNOWN = f"extensions: {', '.join(sorted(EXTENSIONS))}; a manifest can list files of any name"
MANIFESTS = (".parquet", ".csv")


@dataclass(frozen=True)
class Found:
    """A file that the source names.

    Attributes:
        path: absolute local path, or URL.
        label: class, or None.
        group: what must not be torn apart by a split; where none is given, the video's path below
            the source, so that a folder that moves is split as before.
        extra: a manifest's further columns.
        fault: why it cannot even be probed (a folder that cannot be listed), or None.
    """

    path: str
    label: str | None = None
    group: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


def scan(source: str) -> list[Found]:
    """Return every video that `source` names, sorted by path (a manifest: in its order).

    In a folder tree only files with a video's extension count, hidden ones do not, and links are
    followed. If there are class folders, the label is the folder in which the videos part: the
    first below the root, past levels that all of them share.

    Args:
        source: folder, glob, manifest (.parquet or .csv with the column `path` and, if wanted,
            `label`, `group` and others) or video; local or an fsspec URL.

    Raises:
        UserError: it does not exist, has no videos, or is a manifest without `path`.
    """
    source = normal_path(source)
    if source.endswith(MANIFESTS):
        return read_manifest(source)
    root, paths, faults = _list_remote(source) if is_url(source) else _list_local(source)
    videos = sorted(path for path in paths if _is_video(path))
    if not videos and not faults:
        raise UserError(f"{source}: no videos here ({KNOWN})")
    labels = _labels(root, videos)
    pairs = zip(videos, labels, strict=True)
    return [Found(path, label, _below(root, path)) for path, label in pairs] + faults


def _is_video(path: str) -> bool:
    name = PurePosixPath(path).name
    return not name.startswith(".") and name.rpartition(".")[2].lower() in EXTENSIONS


def _list_local(source: str) -> tuple[str, list[str], list[Found]]:
    """The root, the files below it, the folders that cannot be listed."""
    if Path(source).is_file():
        if not _is_video(source):
            raise UserError(f"{source}: is a file, but not named as a video ({KNOWN})")
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
    """The leading folders of a glob that hold no wildcard."""
    magic = (number for number, part in enumerate(parts) if glob.has_magic(part))
    return list(parts[: next(magic)])


def _walk(root: str) -> tuple[list[str], list[Found]]:
    files: list[str] = []
    faults: list[Found] = []
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        faults.append(Found(str(error.filename), fault=f"cannot be listed: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # links in a circle
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [os.path.join(folder, name) for name in names]  # noqa: PTH118 - fast
    return files, faults


def _list_remote(source: str) -> tuple[str, list[str], list[Found]]:
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
    """The first folder below the root that tells videos apart, or None where there is none."""
    folders = [_below(root, path).split("/")[:-1] for path in videos]
    depth = 0
    while len({tuple(parts[: depth + 1]) for parts in folders}) == 1 and all(
        len(parts) > depth + 1 for parts in folders
    ):
        depth += 1
    return [parts[depth] if len(parts) > depth else None for parts in folders]


def _below(root: str, path: str) -> str:
    """The path from the root on, or whole where it lies elsewhere."""
    return path.removeprefix(root.rstrip("/") + "/")


def read_manifest(source: str) -> list[Found]:
    """Return the rows of a manifest; relative paths are relative to its folder.

    Raises:
        UserError: it cannot be read, has no column `path` or no rows, a path stands twice with
            different labels.
    """
    table = read_table(source)
    if "path" not in table.column_names:
        names = ", ".join(table.column_names)
        raise UserError(f"{source}: no column 'path'; it has {names or 'none'}")
    base = source.rpartition("/")[0]
    found: dict[str, Found] = {}
    for row in table.to_pylist():
        path, label, group = (_text(row.pop(name, None)) for name in ("path", "label", "group"))
        if not path:
            raise UserError(f"{source}: row {len(found) + 1} has no path")
        if not is_url(path) and not os.path.isabs(os.path.expanduser(path)):  # noqa: PTH111, PTH117
            path = f"{base}/{path}"
        path = normal_path(path)
        entry = Found(path, label, group or _below(base, path), row)
        if found.setdefault(entry.path, entry) != entry:
            raise UserError(f"{source}: {entry.path} stands twice with different columns")
    if not found:
        raise UserError(f"{source}: the manifest has no rows")
    return list(found.values())


def read_table(source: str) -> pa.Table:
    """Return a Parquet or CSV file as a table.

    Raises:
        UserError: no such file, or not of the kind that its name says.
    """
    try:
        with fsspec.open(source, "rb") as file:
            if source.endswith(".csv"):
                return pyarrow.csv.read_csv(file)
            return pyarrow.parquet.read_table(pa.BufferReader(file.read()), **IN_THIS_THREAD)
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{source}: is a folder; name a .csv or .parquet file") from error
    except (pa.ArrowInvalid, ImportError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not a table: {error}") from error
    except OSError as error:
        raise RunError(f"{source}: cannot be read: {error}") from error


def _text(value: Any) -> str | None:
    """A label may be a number in the file; here it is a name."""
    return None if value is None or value == "" else str(value)
