"""The journal file: optuna's JournalStorage, safe against kill -9, full disks and two drivers."""

import fcntl
import os
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from evossl.errors import RunError, UserError
from evossl.io.files import write_error

JOURNAL, LOCK = "study.journal", "study.lock"


class DriverLock:
    """A lock on the run folder for one driver; the system releases it when the process dies.

    Raises:
        UserError: another process (or another `Study` in this one) drives the run.
        RunError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file: IO[str] = (folder / LOCK).open("a")
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(
                f"{folder}: another evossl process drives this run; wait for it or stop it"
            ) from error

    def release(self) -> None:
        """Let another driver in; calling it twice is harmless."""
        self._file.close()


class _NoLock(JournalFileOpenLock):
    """No lock: `DriverLock` is held, and optuna's lock files survive kill -9 and block for 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


class _AtomicAppend(JournalFileBackend):
    """Appends whole lines or nothing, so that a full disk does not damage the file."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append; on failure, truncate the file to its former size.

        Raises:
            RunError: the file cannot be written.
        """
        size = os.stat(self._file_path).st_size  # noqa: PTH116 - optuna stores a str
        try:
            super().append_logs(logs)
        except OSError as error:
            os.truncate(self._file_path, size)
            raise write_error(Path(self._file_path), error) from error


def open_storage(journal: Path) -> optuna.storages.JournalStorage:
    """Return the optuna storage of `journal`.

    The caller must hold the folder's `DriverLock`, and call `cut_torn_line` before writing.

    Raises:
        RunError: a line before the last is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # not a line for every study
    backend = _AtomicAppend(str(journal), lock_obj=_NoLock(str(journal)))
    try:
        return optuna.storages.JournalStorage(backend)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{journal}: is damaged ({error}); restore it from a copy") from error


def cut_torn_line(journal: Path) -> None:
    """Truncate the file after its last newline.

    A kill in the middle of a write leaves an incomplete line. optuna skips it, appends to it, and
    can then never read the file again.
    """
    with journal.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        size = end
        while size > 0:
            start = max(0, size - 4096)
            file.seek(start)
            newline = file.read(size - start).rfind(b"\n")
            if newline >= 0:
                size = start + newline + 1
                break
            size = start
        if size < end:
            file.truncate(size)
