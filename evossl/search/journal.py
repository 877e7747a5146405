"""The journal file: optuna's JournalStorage, made safe against kill -9, full disks, two drivers."""

import fcntl
import os
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from evossl.errors import RunError, UserError
from evossl.io.files import explained

JOURNAL, LOCK = "study.journal", "study.lock"


class DriverLock:
    """One driver at a time: a lock on the run folder that the system lifts when its holder dies.

    Raises:
        UserError: another process (or another `Study` of this one) drives the run.
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
        """Let another driver in; harmless when called twice."""
        self._file.close()


class _AlreadyHeld(JournalFileOpenLock):
    """`DriverLock` is held; optuna's own lock files outlive a kill -9 and then block for 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


class _WholeLines(JournalFileBackend):
    """Appends whole lines or nothing, so that a full disk does not spoil the file."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append; on failure cut the file to what it was.

        Raises:
            RunError: the file cannot be written.
        """
        size = os.stat(self._file_path).st_size  # noqa: PTH116 - optuna keeps a str
        try:
            super().append_logs(logs)
        except OSError as error:
            os.truncate(self._file_path, size)
            raise explained(Path(self._file_path), error) from error


def open_storage(journal: Path) -> optuna.storages.JournalStorage:
    """Return the storage over `journal`.

    The caller holds the folder's `DriverLock`, and calls `cut_torn_line` before it writes.

    Raises:
        RunError: a line before the last is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # else a line for every study
    backend = _WholeLines(str(journal), lock_obj=_AlreadyHeld(str(journal)))
    try:
        return optuna.storages.JournalStorage(backend)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{journal}: damaged ({error}); restore it from a copy") from error


def cut_torn_line(journal: Path) -> None:
    """SplitConfig the file after its last newline.

    A kill in the middle of a write leaves half a line, which optuna reads over, appends to and
    can then never read again.
    """
    with journal.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        kept = end
        while kept > 0:
            start = max(0, kept - 4096)
            file.seek(start)
            newline = file.read(kept - start).rfind(b"\n")
            if newline >= 0:
                kept = start + newline + 1
                break
            kept = start
        if kept < end:
            file.truncate(kept)
