"""The disk space of the cache: atomic writes within a limit, eviction of the least recently used.

A file is written under a temporary name and has its full size from the start, so that the sum over
the folder includes files being written. The writer holds a lock (flock) on it: a temporary file
without a lock was left behind by a dead process and is deleted.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from evossl.errors import RunError, UserError
from evossl.io.files import is_disk_full

EVICTION_FRACTION = 0.1  # of a full cache, freed at once: each eviction scans the whole folder
_TEMPORARY_PREFIX = ".writing-"


@dataclass(frozen=True)
class CacheBudget:
    """The cache's folder and the limit of its size. Several processes may share it.

    Attributes:
        folder: the cache's folder.
        limit: bytes that all its files together never exceed, or None.
    """

    folder: Path
    limit: int | None

    def store(self, target: Path, parts: Sequence[bytes | memoryview], *, evict: bool) -> bool:
        """Write a file atomically; return False if the limit leaves no space for it.

        Args:
            target: path of the file, in the folder.
            parts: its content.
            evict: make space by deleting the least recently used files.

        Raises:
            RunError: the disk is full or the folder cannot be written.
            UserError: the limit is smaller than this one file.
        """
        size = sum(len(part) for part in parts)
        if self.limit is not None and size > self.limit:
            raise UserError(
                f"cache.limit_gb: {self.limit / 1e9:g} is less than one video needs "
                f"({size / 1e9:.3g} GB); raise it, or lower cache.short_side or cache.max_seconds"
            )
        temporary = self.folder / f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            file = self._begin(temporary, size, evict)
            if file is None:
                return False
            with file:
                file.writelines(parts)
                file.flush()
                target.parent.mkdir(exist_ok=True)
                temporary.replace(target)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _write_error(target, error) from error
        return True

    def prepare_folder(self) -> None:
        """Create the folder if needed; delete the unfinished files of dead processes.

        Raises:
            RunError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._delete_leftovers()
        except OSError as error:
            raise _write_error(self.folder, error) from error

    def _begin(self, temporary: Path, size: int, evict: bool) -> BinaryIO | None:
        """Return a new, locked file of the full size, or None if there is no space for it."""
        with self._locked() as ledger:
            if not self._reserve(ledger, size, evict):
                return None
            file = temporary.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(size)
            return file

    def _reserve(self, ledger: BinaryIO, size: int, evict: bool) -> bool:
        """Add `size` to the ledger's total and return whether it fits.

        The total is never too low, so that only a write that seems to exceed the limit has to scan
        the folder.
        """
        if self.limit is None:
            ledger.truncate(0)  # the total is unknown: the next process with a limit will scan
            return True
        noted = ledger.read()
        total = int(noted) if noted.isdigit() else self.limit
        if total + size > self.limit:
            total = self._scan(size, evict)
        if total + size > self.limit:
            return False
        ledger.seek(0)
        ledger.truncate()
        ledger.write(b"%d" % (total + size))
        return True

    def _scan(self, size: int, evict: bool) -> int:
        """Return the bytes in the folder, after evicting files if that is allowed and needed."""
        assert self.limit is not None
        self._delete_leftovers()
        total, files = 0, []
        # Temporary files first: one that is finished meanwhile is counted twice, but never missed.
        temporary = self.folder.glob(f"{_TEMPORARY_PREFIX}*")
        for path in chain(temporary, self.folder.glob("??/*")):
            with suppress(FileNotFoundError):
                status = path.stat()
                total += status.st_size
                if path.parent != self.folder:
                    files.append((status.st_mtime_ns, status.st_size, path))
        if not evict or total + size <= self.limit:
            return total
        for _, num_bytes, path in sorted(files):
            if total + size <= max((1 - EVICTION_FRACTION) * self.limit, size):
                break
            path.unlink(missing_ok=True)
            total -= num_bytes
        return total

    def _delete_leftovers(self) -> None:
        for path in self.folder.glob(f"{_TEMPORARY_PREFIX}*"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """Hold the folder's lock; yield the locked file, which is also the ledger."""
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(handle, "r+b") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            yield ledger
            ledger.flush()


def _write_error(path: Path, error: OSError) -> RunError:
    if is_disk_full(error):
        return RunError(
            f"{path}: the disk is full; what is in the cache stays valid. Free some space, use a "
            "cache folder on another disk, or set cache.limit_gb, and run again"
        )
    reason = error.strerror or error
    return RunError(f"{path}: cannot be written: {reason}; use another folder for the cache")
