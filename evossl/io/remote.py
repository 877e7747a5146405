"""Local paths and fsspec URLs: what a file is, when it changed, and a local copy of it."""

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

FETCH_SECONDS = 600  # for one remote file to arrive
_CHANGED_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created", "ETag")


class FetchError(OSError):
    """A remote file did not arrive: perhaps it will another time."""


@dataclass(frozen=True)
class Stamp:
    """What tells that a file has changed.

    Attributes:
        bytes: size.
        mtime_ns: local: nanoseconds since 1970; remote: those, or a number made of its version.
        fault: why it cannot be read at all, or None.
    """

    bytes: int = 0
    mtime_ns: int = 0
    fault: str | None = None


def is_url(path: str) -> bool:
    """Whether fsspec must open it."""
    return "://" in path or "::" in path


def lives_in_this_process(path: str) -> bool:
    """Whether no other process can see it (fsspec's memory file system)."""
    return path.startswith("memory:")


def normal_path(path: str) -> str:
    """Return an absolute local path, or the URL as it is; `file://` is local."""
    if path.startswith(("file://", "local://")):
        path = path.split("://", 1)[1]
    if is_url(path):
        return path
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - links stay as they are named


def stamp_of(path: str) -> Stamp:
    """Return size and time of the last change, or what is wrong with it; never raises."""
    if is_url(path):
        return _remote_stamp(path)
    try:
        status = Path(path).stat()
    except OSError as error:
        return Stamp(fault=f"missing: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Stamp(fault="not a regular file")
    if not os.access(path, os.R_OK):
        return Stamp(fault="cannot be read: permission denied")
    return Stamp(status.st_size, status.st_mtime_ns, None if status.st_size else "empty")


def _remote_stamp(path: str) -> Stamp:
    try:
        info: Mapping[str, Any] = file_system(path).info(path)
    except (OSError, ValueError) as error:
        return Stamp(fault=f"missing: {type(error).__name__}")
    return remote_stamp(info)


def remote_stamp(info: Mapping[str, Any]) -> Stamp:
    """Return the stamp in an fsspec `info`; its words for times differ between stores."""
    size = int(info.get("size") or 0)
    changed = next((info[key] for key in _CHANGED_KEYS if info.get(key) is not None), 0)
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    if isinstance(changed, str):
        number = int.from_bytes(hashlib.sha256(changed.encode()).digest()[:7], "big")
    else:
        number = int(changed * 1_000_000_000)
    return Stamp(size, number, None if size else "empty")


def file_system(url: str) -> Any:
    """Return fsspec's file system for a URL.

    Raises:
        UserError: an unknown protocol, or one whose package is not installed.
    """
    import fsspec  # here and below: only when asked for, so that a worker starts in a blink

    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise UserError(f"{url}: {error}") from error


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Give a local file: the path itself, or a remote file's temporary copy.

    Raises:
        FetchError: the file did not arrive.
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
        FetchError: it did not arrive.
        OSError: the disk is full.
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
