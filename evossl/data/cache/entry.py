"""A cached video on disk: one file, whole or absent; and the room for them.

Layout: a page of JSON (shape of the frames, number of sound samples), frame_THWC uint8, sound_S
int16 at 16 kHz. Files are written under a temporary name that already has their full size, so that
whoever adds up the folder counts what is under way. Their writers hold a lock (flock) on them:
what is not locked is left over from a dead process and is removed.

A file is open only while it is read, straight into the batch that wants it. A mapping would be no
faster (docs/performance.md), has to be opened and faulted in anew for every video that has not been
read lately, and holds the disk space of what the limit has evicted. The kernel keeps the pages once
for all processes either way.

Shapes: T frame, H height, W width, C channel, S audio sample.
"""

import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from evossl.errors import RunError, UserError
from evossl.io.files import is_full

FORMAT = 1
SLACK = 0.1  # share of a full cache that is emptied at once: eviction looks at every file
_PAGE = 4096
_HEAD = 256  # bytes of the first page that can hold anything but blanks
_TEMPORARY = ".writing-"


class Entry:
    """A cached video, open: it says what it holds, and reads what is asked for.

    Args:
        handle: the file's descriptor; closed with the entry.

    Attributes:
        shape: T, H, W, C of the frames.
        samples: of the sound, at `AUDIO_RATE`; None without a sound track.

    Raises:
        ValueError, KeyError, TypeError: the file is cut, empty or another program's.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        head = json.loads(os.pread(handle, _HEAD, 0))
        self.shape: tuple[int, int, int, int] = tuple(head["shape"])
        self.samples: int | None = head["samples"]
        size = _PAGE + math.prod(self.shape) + 2 * (self.samples or 0)
        if head["format"] != FORMAT or os.fstat(handle).st_size != size:
            raise ValueError("not as long as it says")

    def read_frames(self, start: int, frame_LHWC: NDArray[np.uint8]) -> None:
        """Overwrite an array by the frames from `start` on."""
        in_one = frame_LHWC.flags.c_contiguous
        read_LHWC = frame_LHWC if in_one else np.empty(frame_LHWC.shape, np.uint8)
        self._read(start * math.prod(self.shape[1:]), read_LHWC)
        if not in_one:
            frame_LHWC[:] = read_LHWC

    def read_sound(self, begin: int, count: int) -> NDArray[np.int16]:
        """Return samples from `begin` on; the track's end gives fewer."""
        sound_S = np.empty(max(min(count, (self.samples or 0) - begin), 0), np.int16)
        self._read(math.prod(self.shape) + 2 * begin, sound_S)
        return sound_S

    def touch(self) -> None:
        """Make it the one that was used last: eviction goes by the time of change."""
        with suppress(OSError):  # another user's
            os.utime(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def _read(self, offset: int, into: NDArray[Any]) -> None:
        rest, place = into.data.cast("B") if into.size else memoryview(b""), _PAGE + offset
        while rest:  # one call reads at most 2 GB
            done = os.preadv(self._handle, [rest], place)
            assert done, "a cached video is never shortened"
            rest, place = rest[done:], place + done


def entry_path(folder: Path, key: str) -> Path:
    """Where the video of that key lies."""
    return folder / key[:2] / f"{key}.clip"


def fault_path(folder: Path, key: str) -> Path:
    """Where it is noted that the video of that key cannot be decoded, and why."""
    return folder / key[:2] / f"{key}.fault"


def open_entry(path: Path) -> Entry | None:
    """Return the open video, or None if it is absent; a damaged file is removed.

    Raises:
        RunError: the file is there and cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        return Entry(handle)
    except (ValueError, KeyError, TypeError):
        os.close(handle)
        path.unlink(missing_ok=True)
        return None


@contextmanager
def decoding(folder: Path, key: str) -> Iterator[None]:
    """Hold the right to decode the video of that key: who comes second waits, and finds it done.

    It ends with the process. Where the file system has no such locks, both decode.
    """
    handle = os.open(folder / ".decoding", os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+b") as file:
        with suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, int(key[:12], 16))
        yield


def pack(
    frame_THWC: NDArray[np.uint8], sound_S: NDArray[np.float32] | None
) -> list[bytes | memoryview]:
    """Return the bytes of an entry, in pieces."""
    samples = None if sound_S is None else len(sound_S)
    head = json.dumps({"format": FORMAT, "shape": frame_THWC.shape, "samples": samples})
    parts: list[bytes | memoryview] = [head.encode().ljust(_PAGE)]
    parts.append(np.ascontiguousarray(frame_THWC).data.cast("B"))
    if sound_S is not None and samples:
        sound = np.round(np.clip(sound_S, -1, 1) * np.iinfo(np.int16).max)
        parts.append(sound.astype(np.int16).data.cast("B"))
    return parts


@dataclass(frozen=True)
class CacheBudget:
    """The cache's folder and how large it may become. Several processes may share it.

    Attributes:
        folder: the cache's.
        limit: bytes that its files together never pass, or None.
    """

    folder: Path
    limit: int | None

    def store(self, target: Path, parts: Sequence[bytes | memoryview], *, evict: bool) -> bool:
        """Write a file whole or not at all; return False if the limit leaves no room.

        Args:
            target: its place in the folder.
            parts: its content.
            evict: make room by removing what has not been used for longest.

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
        temporary = self.folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
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
            raise _not_written(target, error) from error
        return True

    def sweep(self) -> None:
        """Make the folder if it is not there; remove what dead processes have left half written.

        Raises:
            RunError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._remove_leftovers()
        except OSError as error:
            raise _not_written(self.folder, error) from error

    def _begin(self, temporary: Path, size: int, evict: bool) -> BinaryIO | None:
        """Return a new, locked file of the full size, or None if there is no room for it."""
        with self._locked() as ledger:
            if not self._admit(ledger, size, evict):
                return None
            file = temporary.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(size)
            return file

    def _admit(self, ledger: BinaryIO, size: int, evict: bool) -> bool:
        """Enter `size` in the ledger: a sum never too low, so that few writes scan the folder."""
        if self.limit is None:
            ledger.truncate(0)  # unknown to whoever has a limit: it will scan
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
        """Return the bytes in the folder, after eviction where it is allowed and needed."""
        assert self.limit is not None
        self._remove_leftovers()
        total, files = 0, []
        # In this order, for what another process finishes meanwhile: seen twice rather than never.
        for path in chain(self.folder.glob(f"{_TEMPORARY}*"), self.folder.glob("??/*")):
            with suppress(FileNotFoundError):
                status = path.stat()
                total += status.st_size
                if path.parent != self.folder:
                    files.append((status.st_mtime_ns, status.st_size, path))
        if not evict or total + size <= self.limit:
            return total
        for _, num_bytes, path in sorted(files):
            if total + size <= max((1 - SLACK) * self.limit, size):
                break
            path.unlink(missing_ok=True)
            total -= num_bytes
        return total

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(f"{_TEMPORARY}*"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """Hold the folder's lock; yield its file, which is the ledger."""
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(handle, "r+b") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            yield ledger
            ledger.flush()


def _not_written(path: Path, error: OSError) -> RunError:
    if is_full(error):
        return RunError(
            f"{path}: the disk is full; what is in the cache stays: make room, give the cache a "
            "folder on another disk, or set cache.limit_gb, and try again"
        )
    why = error.strerror or error
    return RunError(f"{path}: cannot be written: {why}; give the cache another folder")
