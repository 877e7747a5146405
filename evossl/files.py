"""Files that are whole or not there: written beside, then renamed; a full disk is said in words."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from evossl.errors import RunError

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file or folder beside `path`, then put it in place of the old one.

    Raises:
        RunError: the disk is full or the folder cannot be written; what was there before is whole.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(beside)
        write(beside)
        _put_in_place(beside, path)
    except (OSError, SafetensorError) as error:
        _discard(beside)
        raise _explained(path, error) from error
    except BaseException:
        _discard(beside)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    text = json.dumps(value, indent=1, allow_nan=False)
    write_atomically(path, lambda beside: _write_text(beside, text + "\n"))


def _put_in_place(beside: Path, path: Path) -> None:
    if not (beside.is_dir() and path.is_dir()):
        beside.replace(path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(old)
    try:
        beside.rename(path)
    except OSError:
        old.rename(path)
        raise
    _discard(old)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _discard(path: Path) -> None:
    """Remove what can be removed: a fault that is being reported must not be hidden by another."""
    with suppress(OSError):
        _remove(path)


def _explained(path: Path, error: OSError | SafetensorError) -> RunError:
    if isinstance(error, OSError):
        is_full, why = error.errno in FULL, error.strerror or str(error)
    else:  # safetensors has the system's number in its text only
        is_full = any(f"(os error {number})" in str(error) for number in FULL)
        why = str(error)
    if is_full:
        return RunError(
            f"{path}: the disk is full; what was there before is whole: make room and resume"
        )
    return RunError(f"{path}: cannot be written: {why}")
