"""The clip cache: a node decodes a video once; every trial on it reads the same file.

Shapes: T frame of the video at the cache's rate, L frame of a stretch, H height, W width,
C channel, S audio sample.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evossl.config import Cache
from evossl.data.cache.cache_worker import CACHE
from evossl.data.cache.entry import FORMAT, CacheBudget, Entry, entry_path, fault_path, open_entry
from evossl.data.decode.decoder import DecodeError, default_decoder
from evossl.data.index.index import Video
from evossl.data.workers.jobs import run_jobs
from evossl.data.workers.pool import Job, Outcome, WorkerPool
from evossl.errors import RunError
from evossl.types import AUDIO_RATE

HEADERS_ERR = 2.0  # times the seconds that an index has: no video is longer
_ATTEMPTS = 5  # at opening a video that others evict as soon as it is stored


@dataclass(frozen=True)
class FillReport:
    """What became of the videos.

    Attributes:
        readable: those that decode; beyond the limit, those that the index believes.
        set_aside: (path, reason) of the others.
    """

    readable: list[Video]
    set_aside: list[tuple[str, str]]


def default_cache_folder() -> Path:
    """Return $EVOSSL_CACHE, else ~/.cache/evossl."""
    return Path(os.environ.get("EVOSSL_CACHE") or "~/.cache/evossl").expanduser()


class ClipCache:
    """Decoded videos in a folder, at one rate and size. Threads and processes may share it.

    Args:
        folder: the cache's; any number of settings live in it side by side.
        settings: rate, size, length and limit. With a limit, what has not been read for longest
            is evicted and decoded anew when it is asked for.
        workers: processes that decode what is missing when it is asked for.
        deadline: seconds that a video may take then.
    """

    def __init__(
        self, folder: Path, settings: Cache, *, workers: int = 1, deadline: float = 60.0
    ) -> None:
        self.folder = folder
        self.settings = settings
        limit = None if settings.limit_gb is None else int(settings.limit_gb * 1e9)
        self._room = CacheBudget(folder, limit)
        self._decoder = default_decoder().name
        self._pool = WorkerPool(CACHE, workers=workers, deadline=deadline)
        self._lock = threading.RLock()

    def key(self, video: Video) -> str:
        """Return the hash of all that changes the pixels: file, rate, size, length, decoder.

        A video that is kept whole is the same under any `max_seconds`, and is decoded once for all.
        """
        rate, side, seconds = self._recipe
        whole = HEADERS_ERR * video.seconds <= seconds
        identity = [video.path, video.bytes, video.mtime_ns, rate, side, None if whole else seconds]
        text = json.dumps([*identity, self._decoder, FORMAT])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def fill(
        self,
        videos: Sequence[Video],
        *,
        workers: int = 2,
        deadline: float = 60.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> FillReport:
        """Decode what is not in the cache yet, until it is full.

        Args:
            videos: readable ones of an index.
            workers: processes that decode.
            deadline: seconds that a video may take before it is set aside.
            progress: called with (videos done, videos in all).

        Raises:
            RunError: the disk is full (what was there is whole), or no video is readable.
        """
        absent = [i for i, video in enumerate(videos) if not self._has(video)]
        faults = {i: fault for i in absent if (fault := self._fault(videos[i]))}
        missing = [i for i in absent if i not in faults]
        if missing:  # a cache that has everything may be one that cannot be written
            self._room.sweep()
        shift = os.getpid() * 7919 % max(len(missing), 1)  # processes that race start apart
        done = len(videos) - len(missing)
        pool = WorkerPool(CACHE, workers=workers, deadline=deadline)
        try:
            for outcome in self._decode(pool, videos, missing[shift:] + missing[:shift], False):
                if outcome.reason is not None:
                    faults[outcome.number] = outcome.reason
                elif outcome.value == {"stored": False}:
                    break
                done += 1
                if progress is not None:
                    progress(done, len(videos))
        finally:
            pool.close()
        if progress is not None:
            progress(len(videos), len(videos))
        return _report(videos, faults)

    def prepare(self, videos: Sequence[Video]) -> dict[str, str]:
        """Decode those that are not in the cache, side by side; return {path: reason} of failures.

        Raises:
            RunError: the disk is full.
            UserError: the limit is less than one video.
        """
        with self._lock:
            absent = {video: i for i, video in enumerate(videos) if not self._has(video)}
            if not absent:
                return {}
            faults = {video.path: fault for video in absent if (fault := self._fault(video))}
            missing = [i for video, i in absent.items() if video.path not in faults]
            if missing:
                self._room.sweep()
            for outcome in self._decode(self._pool, videos, missing, True):
                if outcome.reason is not None:
                    faults[videos[outcome.number].path] = outcome.reason
            return faults

    def shape(self, video: Video) -> tuple[int, int, int]:
        """Return T (at least 1), H, W of the video at the cache's rate and size.

        Raises:
            DecodeError: the video was not in the cache and cannot be decoded.
        """
        with self._entry(video) as entry:
            return entry.shape[:3]

    def read(
        self,
        video: Video,
        start: int,
        count: int,
        *,
        sound: bool = True,
        into: NDArray[np.uint8] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Return a stretch of a video, decoding the video if it is not in the cache.

        Args:
            video: of an index.
            start: first frame, in [0, T).
            count: frames wanted; the video's end gives fewer.
            sound: is wanted too.
            into: (count, H, W, C) or larger; its first rows and columns are overwritten.

        Returns:
            frame_LHWC, uint8, a part of `into` if that is given; and sound_S, float32 in [-1, 1],
            of the same seconds, or None where sound is not wanted or covers less than half of them.

        Raises:
            DecodeError: the video was not in the cache and cannot be decoded.
        """
        with self._entry(video) as entry:
            num_frames, height, width, _ = entry.shape
            assert 0 <= start < num_frames, (start, entry.shape)
            length = min(count, num_frames - start)
            if into is None:
                into = np.empty((length, *entry.shape[1:]), np.uint8)
            frame_LHWC = into[:length, :height, :width]
            entry.read_frames(start, frame_LHWC)
            return frame_LHWC, self._sound(entry, start, length) if sound else None

    def close(self) -> None:
        """End the decoding processes."""
        with self._lock:
            self._pool.close()

    @property
    def _recipe(self) -> tuple[float, int, float]:
        return (self.settings.fps, self.settings.short_side, self.settings.max_seconds)

    def _entry(self, video: Video) -> Entry:
        """Open a video, decoding it where it must be; the caller closes it."""
        path = entry_path(self.folder, self.key(video))
        for _ in range(_ATTEMPTS):
            entry = open_entry(path)
            if entry is not None:
                if self._room.limit is not None:
                    entry.touch()
                return entry
            fault = self.prepare([video]).get(video.path)
            if fault is not None:
                raise DecodeError(fault)
        raise RunError(
            f"{path}: evicted {_ATTEMPTS} times before it could be read; raise cache.limit_gb"
        )

    def _sound(self, entry: Entry, start: int, length: int) -> NDArray[np.float32] | None:
        """What is heard with so many frames, followed by silence where the track ends before."""
        wanted = round(length / self.settings.fps * AUDIO_RATE)
        heard_S = entry.read_sound(round(start / self.settings.fps * AUDIO_RATE), wanted)
        if entry.samples is None or 2 * len(heard_S) < wanted:
            return None
        sound_S = np.zeros(wanted, np.float32)
        sound_S[: len(heard_S)] = heard_S / np.float32(np.iinfo(np.int16).max)
        return sound_S

    def _has(self, video: Video) -> bool:
        return entry_path(self.folder, self.key(video)).exists()

    def _fault(self, video: Video) -> str | None:
        """Why an earlier attempt could not decode the video, or None."""
        try:
            return fault_path(self.folder, self.key(video)).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _decode(
        self, pool: WorkerPool, videos: Sequence[Video], chosen: Sequence[int], evict: bool
    ) -> Iterator[Outcome]:
        fps, short_side, max_seconds = self._recipe
        common: dict[str, Any] = {
            "folder": str(self.folder.absolute()),
            "decoder": self._decoder,
            "fps": fps,
            "short_side": short_side,
            "max_seconds": max_seconds,
            "limit": self._room.limit,
            "evict": evict,
        }
        jobs = [Job(i, videos[i].path, {"key": self.key(videos[i]), **common}) for i in chosen]
        return run_jobs(pool, jobs)


def _report(videos: Sequence[Video], faults: dict[int, str]) -> FillReport:
    readable = [video for i, video in enumerate(videos) if i not in faults]
    set_aside = [(videos[i].path, faults[i]) for i in sorted(faults)]
    if not readable:
        reason = f": {set_aside[0][0]}: {set_aside[0][1]}" if set_aside else ""
        raise RunError(f"none of {len(videos)} videos can be decoded{reason}")
    return FillReport(readable, set_aside)
