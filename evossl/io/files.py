"""Files that are whole or not there: written beside, then renamed; a full disk is said in words."""

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

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Let `write` fill a file or folder beside `path`, then put it in place of the old one.

    Args:
        path: the file or folder.
        write: given the name beside it.
        durable: wait for the disk; False for what can be made again, by the thousand.

    Raises:
        RunError: the disk is full or the folder cannot be written; what was there before is whole.
    """
    beside = _hidden(path, "tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        _share(beside)
        if durable:
            _sync(beside)
        _put_in_place(beside, path)
    except (OSError, SafetensorError) as error:
        _discard(beside)
        raise explained(path, error) from error
    except BaseException:
        _discard(beside)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _hidden(path: Path, ending: str) -> Path:
    """A name beside `path` that no other process or thread has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{ending}")


def _files(path: Path) -> list[Path]:
    return [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]


def _share(path: Path) -> None:
    """Let who may read the folder read the files: safetensors keeps its own to their owner."""
    readers = path.parent.stat().st_mode & 0o044
    for file in _files(path):
        file.chmod(file.stat().st_mode | readers)


def _sync(path: Path) -> None:
    """Put the bytes on the disk: else a power cut may keep the new name and lose what it names."""
    for file in _files(path):
        with file.open("rb") as held:
            os.fsync(held.fileno())


def _put_in_place(beside: Path, path: Path) -> None:
    if not (beside.is_dir() and path.is_dir()):
        beside.replace(path)
        return
    old = _hidden(path, "old")
    path.rename(old)
    try:
        beside.rename(path)
    finally:  # whatever stops it, one of the two is in place
        if path.exists():
            _discard(old)
        else:
            old.rename(path)


def _discard(path: Path) -> None:
    """Remove what can be removed: a fault that is being reported must not be hidden by another."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def is_full(error: BaseException) -> bool:
    """Whether a disk or a quota was full."""
    if isinstance(error, SafetensorError):  # has the system's number in its text only
        return any(f"(os error {number})" in str(error) for number in FULL)
    return isinstance(error, OSError) and error.errno in FULL


def explained(path: Path, error: OSError | SafetensorError) -> RunError:
    """Return what is to be said of a file that could not be written; what was there is whole."""
    if is_full(error):
        return RunError(
            f"{path}: the disk is full; what was there before is whole: make room and try again"
        )
    why = error.strerror if isinstance(error, OSError) else None
    return RunError(f"{path}: cannot be written: {why or error}")
