"""Local paths and fsspec URLs: size and time of change of a file, and a local copy of it."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evossl.errors import UserError

FETCH_SECONDS = 600  # time limit for fetching one remote file
_CHANGE_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created", "ETag")


class FetchError(OSError):
    """A remote file could not be fetched; another attempt may succeed."""


@dataclass(frozen=True)
class FileStatus:
    """Size and time of change of a file; if either differs, the file has changed.

    Attributes:
        bytes: size.
        mtime_ns: time of change in nanoseconds since 1970. For a remote file without such a time,
            a number derived from its version.
        fault: why the file cannot be read at all, or None.
    """

    bytes: int = 0
    mtime_ns: int = 0
    fault: str | None = None


def is_url(path: str) -> bool:
    """Return whether fsspec must open the path."""
    return "://" in path or "::" in path


def is_process_local(path: str) -> bool:
    """Return whether no other process can read the path (fsspec's memory file system)."""
    return path.startswith("memory:")


def normal_path(path: str) -> str:
    """Return an absolute local path, or a URL unchanged; `file://` URLs become local paths."""
    if path.startswith(("file://", "local://")):
        path = path.split("://", 1)[1]
    if is_url(path):
        return path
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - keeps symbolic links


def file_status(path: str) -> FileStatus:
    """Return size and time of change of a file, or what is wrong with it; never raises."""
    if is_url(path):
        return _remote_status(path)
    try:
        status = Path(path).stat()
    except OSError as error:
        return FileStatus(fault=f"missing: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return FileStatus(fault="not a regular file")
    if not os.access(path, os.R_OK):
        return FileStatus(fault="cannot be read: permission denied")
    return FileStatus(status.st_size, status.st_mtime_ns, None if status.st_size else "empty")


def _remote_status(path: str) -> FileStatus:
    try:
        info: Mapping[str, Any] = file_system(path).info(path)
    except (OSError, ValueError) as error:
        return FileStatus(fault=f"missing: {type(error).__name__}")
    return status_from_info(info)


def status_from_info(info: Mapping[str, Any]) -> FileStatus:
    """Return the status in an fsspec `info`, whose key for the time differs between stores."""
    size = int(info.get("size") or 0)
    changed = next((info[key] for key in _CHANGE_KEYS if info.get(key) is not None), 0)
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    if isinstance(changed, str):
        number = int.from_bytes(hashlib.sha256(changed.encode()).digest()[:7], "big")
    else:
        number = int(changed * 1_000_000_000)
    return FileStatus(size, number, None if size else "empty")


def file_system(url: str) -> Any:
    """Return fsspec's file system for a URL.

    Raises:
        UserError: an unknown protocol, or one whose package is not installed.
    """
    import fsspec  # imported on use, here and below, so that worker processes start fast

    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise UserError(f"{url}: {error}") from error


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yield a local path: `path` itself, or a temporary copy of a remote file.

    Raises:
        FetchError: the remote file could not be fetched.
    """
    if not is_url(path):
        yield path
        return
    suffix = Path(path.split("::", 1)[0]).suffix
    with tempfile.TemporaryDirectory(prefix="evossl-") as folder:
        copy = Path(folder) / f"video{suffix}"
        fetch(path, copy)
        yield str(copy)


def fetch(path: str, copy: Path) -> None:
    """Copy a remote file to a local one.

    Raises:
        FetchError: the remote file could not be fetched.
        OSError: the local disk is full.
    """
    import fsspec

    with copy.open("wb") as target:
        try:
            with fsspec.open(path, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        except (OSError, ImportError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise FetchError(f"cannot be fetched: {type(error).__name__}: {error}") from error
