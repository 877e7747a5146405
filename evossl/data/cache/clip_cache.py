"""The clip cache: a node decodes each video once, and all trials on it read the same file.

Shapes: T frame of the video at the cache's rate, L frame of a clip, H height, W width,
C channel, S audio sample.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evossl.config import Cache
from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_file import FORMAT, ClipFile, clip_path, fault_path, open_clip
from evossl.data.cache.decode_job import DECODE_JOB, DecodeRecipe
from evossl.data.decode.decoder import DecodeError, default_decoder
from evossl.data.index.index import Video
from evossl.data.workers.job import FileJob, JobResult
from evossl.data.workers.pool import WorkerPool
from evossl.errors import RunError
from evossl.types import AUDIO_RATE, Progress

MAX_LENGTH_RATIO = 2.0  # of a video's true length to the one in its header, at most
MAX_OPEN_ATTEMPTS = 5  # other processes may evict a video right after it was stored


@dataclass(frozen=True)
class FillReport:
    """The result of filling the cache.

    Attributes:
        readable: the videos that can be decoded. Once the cache is full, videos that have not been
            tried count as readable.
        failed: (path, reason) of the others.
    """

    readable: list[Video]
    failed: list[tuple[str, str]]


def default_cache_folder() -> Path:
    """Return $EVOSSL_CACHE, or ~/.cache/evossl if it is not set."""
    return Path(os.environ.get("EVOSSL_CACHE") or "~/.cache/evossl").expanduser()


class ClipCache:
    """Decoded videos in a folder, at one rate and size. Threads and processes may share it.

    Args:
        folder: the cache's folder; caches with different settings can share it.
        settings: rate, size, length and limit. With a limit, the least recently used videos are
            evicted, and decoded again when they are read.
        workers: number of processes that decode missing videos on demand.
        deadline: seconds that decoding one of these videos may take.
    """

    def __init__(
        self, folder: Path, settings: Cache, *, workers: int = 1, deadline: float = 60.0
    ) -> None:
        self.folder = folder
        self.settings = settings
        limit = None if settings.limit_gb is None else int(settings.limit_gb * 1e9)
        self._budget = CacheBudget(folder, limit)
        self._recipe = DecodeRecipe(
            default_decoder().name, settings.fps, settings.short_side, settings.max_seconds
        )
        self._pool = WorkerPool(DECODE_JOB, workers=workers, deadline=deadline)
        self._lock = threading.RLock()

    def key(self, video: Video) -> str:
        """Return a hash of everything that determines the pixels: file, settings and decoder.

        If `max_seconds` is at least twice a video's length (`Video.seconds`), raising it further
        does not change the key.
        """
        how = self._recipe
        is_whole = MAX_LENGTH_RATIO * video.seconds <= how.max_seconds
        end = None if is_whole else how.max_seconds
        identity = [video.path, video.bytes, video.mtime_ns, how.fps, how.short_side, end]
        text = json.dumps([*identity, how.decoder, FORMAT])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def fill(
        self,
        videos: Sequence[Video],
        *,
        workers: int = 2,
        deadline: float = 60.0,
        progress: Progress | None = None,
    ) -> FillReport:
        """Decode the videos that are not in the cache yet, until it is full.

        Args:
            videos: readable videos of an index.
            workers: number of worker processes.
            deadline: seconds that decoding one video may take; one that takes longer has failed.
            progress: called after each decoded video, and at the end.

        Raises:
            RunError: the disk is full (cached videos stay valid), or no video can be decoded.
        """
        absent = [i for i, video in enumerate(videos) if not self._has(video)]
        faults = {i: fault for i in absent if (fault := self._fault(videos[i]))}
        missing = [i for i in absent if i not in faults]
        if missing:  # a complete cache may be read-only
            self._budget.prepare_folder()
        shift = (
            os.getpid() * 7919 % max(len(missing), 1)
        )  # racing processes start at different videos
        done = len(videos) - len(missing)
        pool = WorkerPool(DECODE_JOB, workers=workers, deadline=deadline)
        try:
            for result in self._decode(pool, videos, missing[shift:] + missing[:shift], False):
                if result.reason is not None:
                    faults[result.number] = result.reason
                elif result.value == {"stored": False}:
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
        """Decode the videos that are not in the cache; return {path: reason} of those that fail.

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
                self._budget.prepare_folder()
            for result in self._decode(self._pool, videos, missing, True):
                if result.reason is not None:
                    faults[videos[result.number].path] = result.reason
            return faults

    def shape(self, video: Video) -> tuple[int, int, int]:
        """Return T (at least 1), H, W of the video at the cache's rate and size.

        Raises:
            DecodeError: the video is not in the cache and cannot be decoded.
        """
        with self._open(video) as clip:
            return clip.shape[:3]

    def read(
        self,
        video: Video,
        start: int,
        count: int,
        *,
        sound: bool = True,
        into: NDArray[np.uint8] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Return a clip of a video; the video is decoded first if it is not in the cache.

        Args:
            video: a readable video of an index.
            start: first frame, in [0, T).
            count: number of frames; there are fewer at the end of the video.
            sound: read the sound as well.
            into: array of (count, H, W, C) or larger, whose first rows and columns receive the
                frames.

        Returns:
            frame_LHWC, uint8, a view of `into` if that is given; and sound_S, float32 in [-1, 1],
            of the same seconds. sound_S is None if `sound` is False or the track covers less than
            half of these seconds.

        Raises:
            DecodeError: the video is not in the cache and cannot be decoded.
        """
        with self._open(video) as clip:
            num_frames, height, width, _ = clip.shape
            assert 0 <= start < num_frames, (start, clip.shape)
            length = min(count, num_frames - start)
            if into is None:
                into = np.empty((length, *clip.shape[1:]), np.uint8)
            frame_LHWC = into[:length, :height, :width]
            clip.read_frames(start, frame_LHWC)
            return frame_LHWC, self._sound(clip, start, length) if sound else None

    def close(self) -> None:
        """End the decoding processes."""
        with self._lock:
            self._pool.close()

    def _open(self, video: Video) -> ClipFile:
        """Open a video, after decoding it if it is not in the cache; the caller closes it."""
        path = clip_path(self.folder, self.key(video))
        for _ in range(MAX_OPEN_ATTEMPTS):
            clip = open_clip(path)
            if clip is not None:
                if self._budget.limit is not None:
                    clip.touch()
                return clip
            fault = self.prepare([video]).get(video.path)
            if fault is not None:
                raise DecodeError(fault)
        raise RunError(
            f"{path}: evicted {MAX_OPEN_ATTEMPTS} times before it could be read; raise "
            "cache.limit_gb"
        )

    def _sound(self, clip: ClipFile, start: int, length: int) -> NDArray[np.float32] | None:
        """Return the sound of `length` frames, padded with zeros where the track ends earlier."""
        count = round(length / self.settings.fps * AUDIO_RATE)
        read_S = clip.read_sound(round(start / self.settings.fps * AUDIO_RATE), count)
        if clip.samples is None or 2 * len(read_S) < count:
            return None
        sound_S = np.zeros(count, np.float32)
        sound_S[: len(read_S)] = read_S / np.float32(np.iinfo(np.int16).max)
        return sound_S

    def _has(self, video: Video) -> bool:
        return clip_path(self.folder, self.key(video)).exists()

    def _fault(self, video: Video) -> str | None:
        """Return why an earlier attempt could not decode the video, or None."""
        try:
            return fault_path(self.folder, self.key(video)).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _decode(
        self, pool: WorkerPool, videos: Sequence[Video], chosen: Sequence[int], evict: bool
    ) -> Iterator[JobResult]:
        common: dict[str, Any] = {
            "folder": str(self.folder.absolute()),
            "recipe": asdict(self._recipe),
            "limit": self._budget.limit,
            "evict": evict,
        }
        jobs = [FileJob(i, videos[i].path, {"key": self.key(videos[i]), **common}) for i in chosen]
        return pool.run(jobs)


def _report(videos: Sequence[Video], faults: dict[int, str]) -> FillReport:
    readable = [video for i, video in enumerate(videos) if i not in faults]
    failed = [(videos[i].path, faults[i]) for i in sorted(faults)]
    if not readable:
        first = f": {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise RunError(f"none of {len(videos)} videos can be decoded{first}")
    return FillReport(readable, failed)
