"""The file format of a cached video, and the paths of these files in the cache's folder.

Layout: a page of JSON (shape of the frames, number of audio samples), frame_THWC uint8, sound_S
int16 at 16 kHz.

A file is open only while it is read, straight into the batch. Memory-mapping it would be no faster
(docs/performance.md), would have to be set up anew for every video that has not been read lately,
and would hold the disk space of evicted files. The kernel shares the pages between all processes
either way.

Shapes: T frame, H height, W width, C channel, S audio sample.
"""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evossl.errors import RunError

FORMAT = 1
_PAGE_BYTES = 4096
_HEADER_BYTES = 256  # the part of the first page that can hold anything but blanks


class ClipFile:
    """An open cached video: its shape, and reads of its frames and sound.

    Args:
        handle: descriptor of the file; it is closed with this object.

    Attributes:
        shape: T, H, W, C of the frames.
        samples: number of audio samples at `AUDIO_RATE`; None without an audio track.

    Raises:
        ValueError, KeyError, TypeError: the file is truncated, empty or of another program.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        header = json.loads(os.pread(handle, _HEADER_BYTES, 0))
        self.shape: tuple[int, int, int, int] = tuple(header["shape"])
        self.samples: int | None = header["samples"]
        size = _PAGE_BYTES + math.prod(self.shape) + 2 * (self.samples or 0)
        if header["format"] != FORMAT or os.fstat(handle).st_size != size:
            raise ValueError("the file's size is not the one in its header")

    def read_frames(self, start: int, frame_LHWC: NDArray[np.uint8]) -> None:
        """Overwrite an array with the frames from `start` on."""
        contiguous = frame_LHWC.flags.c_contiguous
        read_LHWC = frame_LHWC if contiguous else np.empty(frame_LHWC.shape, np.uint8)
        self._read(start * math.prod(self.shape[1:]), read_LHWC)
        if not contiguous:
            frame_LHWC[:] = read_LHWC

    def read_sound(self, begin: int, count: int) -> NDArray[np.int16]:
        """Return `count` samples from `begin` on, or fewer at the end of the track."""
        sound_S = np.empty(max(min(count, (self.samples or 0) - begin), 0), np.int16)
        self._read(math.prod(self.shape) + 2 * begin, sound_S)
        return sound_S

    def touch(self) -> None:
        """Mark the file as used last: eviction goes by the time of change."""
        with suppress(OSError):  # the file of another user
            os.utime(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def _read(self, offset: int, into: NDArray[Any]) -> None:
        rest, place = into.data.cast("B") if into.size else memoryview(b""), _PAGE_BYTES + offset
        while rest:  # one call reads at most 2 GB
            done = os.preadv(self._handle, [rest], place)
            assert done, "a cached video is never shortened"
            rest, place = rest[done:], place + done


def clip_path(folder: Path, key: str) -> Path:
    """Return the path of the cached video with this key."""
    return folder / key[:2] / f"{key}.clip"


def fault_path(folder: Path, key: str) -> Path:
    """Return the path of the note that the video with this key cannot be decoded, and why."""
    return folder / key[:2] / f"{key}.fault"


def open_clip(path: Path) -> ClipFile | None:
    """Return the open video, or None if it is absent; a damaged file is deleted.

    Raises:
        RunError: the file exists and cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        return ClipFile(handle)
    except (ValueError, KeyError, TypeError):
        os.close(handle)
        path.unlink(missing_ok=True)
        return None


def clip_bytes(
    frame_THWC: NDArray[np.uint8], sound_S: NDArray[np.float32] | None
) -> list[bytes | memoryview]:
    """Return the content of a clip file, in parts."""
    samples = None if sound_S is None else len(sound_S)
    header = json.dumps({"format": FORMAT, "shape": frame_THWC.shape, "samples": samples})
    parts: list[bytes | memoryview] = [header.encode().ljust(_PAGE_BYTES)]
    parts.append(np.ascontiguousarray(frame_THWC).data.cast("B"))
    if sound_S is not None and samples:
        sound = np.round(np.clip(sound_S, -1, 1) * np.iinfo(np.int16).max)
        parts.append(sound.astype(np.int16).data.cast("B"))
    return parts


@contextmanager
def decoding_lock(folder: Path, key: str) -> Iterator[None]:
    """Hold the lock for decoding the video with this key; a second process waits here.

    The lock ends with the process. On a file system without such locks, both processes decode.
    """
    handle = os.open(folder / ".decoding", os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+b") as file:
        with suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, int(key[:12], 16))
        yield
