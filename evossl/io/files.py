"""Atomic writes: a reader sees the old file or folder or the new one, never a part of it."""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from evossl.errors import RunError

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Replace a file or folder by a new one, in one step.

    Args:
        path: the file or folder; its parent is created if it does not exist.
        write: called with a temporary path beside `path`; creates the new file or folder there.
        durable: wait until the data are on the disk. False for data that can be recreated, where
            thousands of files are written.

    Raises:
        RunError: the disk is full or the folder cannot be written; the old content is unchanged.
    """
    temporary = _hidden_path(path, "tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _copy_read_permissions(path.parent, temporary)
        if durable:
            _sync(temporary)
        _move_into_place(temporary, path)
    except (OSError, SafetensorError) as error:
        _remove(temporary)
        raise write_error(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _hidden_path(path: Path, suffix: str) -> Path:
    """Return a path beside `path` that no other process or thread uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{suffix}")


def _files(path: Path) -> list[Path]:
    return [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]


def _copy_read_permissions(folder: Path, path: Path) -> None:
    """Let everyone who may read `folder` read the files at `path`.

    safetensors creates files that only their owner may read.
    """
    read_bits = folder.stat().st_mode & 0o044
    for file in _files(path):
        file.chmod(file.stat().st_mode | read_bits)


def _sync(path: Path) -> None:
    """Flush to the disk: otherwise a power cut may keep the new name and lose the content."""
    for file in _files(path):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _move_into_place(temporary: Path, path: Path) -> None:
    if not (temporary.is_dir() and path.is_dir()):
        temporary.replace(path)
        return
    old = _hidden_path(path, "old")
    path.rename(old)
    try:
        temporary.rename(path)
    finally:  # whatever interrupts this, the new or the old folder is in place
        if path.exists():
            _remove(old)
        else:
            old.rename(path)


def _remove(path: Path) -> None:
    """Remove what can be removed; an error here must not hide the one being reported."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Return whether the error says that a disk or a quota is full."""
    if isinstance(error, SafetensorError):  # its text is the only place with the error number
        return any(f"(os error {number})" in str(error) for number in DISK_FULL_ERRNOS)
    return isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS


def write_error(path: Path, error: OSError | SafetensorError) -> RunError:
    """Return the error to raise when `path` could not be written; its old content is unchanged."""
    if is_disk_full(error):
        return RunError(
            f"{path}: the disk is full. What was there before is unchanged; free some space and "
            "run again"
        )
    reason = error.strerror if isinstance(error, OSError) else None
    return RunError(f"{path}: cannot be written: {reason or error}")
