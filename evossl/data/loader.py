"""Batches of clips: a pure function of (seed, step), so that a resumed run needs no loader state.

Shapes: B clip, L frame of a clip, H height, W width, C channel, S audio sample.
"""

import queue
import threading
import time
from collections.abc import Generator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Video
from evossl.errors import RunError
from evossl.types import AUDIO_RATE, ClipBatch

SILENCE_PEAK = 1e-3  # (-60 dB) below it a clip counts as silent: tracks of zeros are common
PREFETCHED_BATCHES = 2  # ready batches that wait for the consumer
MAX_REPLACEMENTS = 8  # for one sample whose video cannot be decoded
Shape = tuple[int, int, int]
"""T, H, W of a cached video."""
_EPOCH, _START, _DRAW, _REPLACE = range(4)  # parts of a seed: what the random number is for


class ClipLoader:
    """Batches of clips from cached videos.

    Args:
        cache: the cache to read from.
        videos: readable videos; `video_id_B` is an index into them.
        stretch: L, frames at the cache's rate; shorter videos are padded with their last frame.
        batch_size: B.
        seed: of the order of videos and of where clips start.
        sound: read the sound; if False, every clip counts as silent.

    Attributes:
        wait_seconds: total time that consumers of `prefetch` have waited for a batch.
        failed: {path: reason} of videos that could not be decoded and were replaced by others.
    """

    def __init__(
        self,
        cache: ClipCache,
        videos: Sequence[Video],
        *,
        stretch: int,
        batch_size: int,
        seed: int,
        sound: bool = True,
    ) -> None:
        assert videos, "a loader needs videos"
        assert stretch >= 1
        assert batch_size >= 1
        self.wait_seconds = 0.0
        self.failed: dict[str, str] = {}
        self._cache = cache
        self._videos = list(videos)
        self._stretch = stretch
        self._batch_size = batch_size
        self._seed = seed
        self._sound = sound
        self._order = lru_cache(maxsize=2)(self._permutation)

    def batch(self, step: int) -> ClipBatch:
        """Return the batch of a training step.

        Each epoch has a new random order of all videos. An epoch's last, incomplete batch is
        completed from the next epoch. A clip may start anywhere in its video.

        Raises:
            RunError: too many videos cannot be decoded, or the disk is full.
        """
        rows = self._replace_failing(self.rows(step), step)
        shapes = self._shapes(rows)
        starts = [
            self._start(shape, np.random.default_rng([self._seed, _START, step, slot]))
            for slot, shape in enumerate(shapes)
        ]
        return self._gather(rows, shapes, starts)

    def rows(self, step: int) -> list[int]:
        """Return the videos in the batch of a step, before replacing any that cannot be decoded."""
        first = step * self._batch_size
        epochs = [divmod(i, len(self._videos)) for i in range(first, first + self._batch_size)]
        return [int(self._order(epoch)[place]) for epoch, place in epochs]

    def clips(self, indices: Sequence[int], draw: int) -> ClipBatch:
        """Return clips of given videos, for scoring.

        Args:
            indices: into `videos`.
            draw: 0 takes the centre of each video; other numbers take random starts, which do not
                depend on the other videos in `indices`.

        Raises:
            DecodeError: a video cannot be decoded.
        """
        self._cache.prepare([self._videos[row] for row in indices])
        shapes, starts = self._shapes(indices), []
        for row, shape in zip(indices, shapes, strict=True):
            rng = np.random.default_rng([self._seed, _DRAW, draw, row])
            starts.append(self._start(shape, rng) if draw else self._last_start(shape) // 2)
        return self._gather(indices, shapes, starts)

    def prefetch(
        self, start: int, stop: int, *, pinned: bool = False
    ) -> Generator[ClipBatch, None, None]:
        """Yield `batch(start)` to `batch(stop - 1)`, prepared in advance by a background thread.

        `pinned` puts them into page-locked memory, so that copying to a GPU overlaps with
        computing. Exceptions of the thread are raised here. Closing the iterator ends the thread.
        """
        ready: queue.Queue[ClipBatch | BaseException] = queue.Queue(PREFETCHED_BATCHES)
        closed = threading.Event()

        def hand_over(item: ClipBatch | BaseException) -> bool:
            while not closed.is_set():
                try:
                    ready.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def work() -> None:
            try:
                for step in range(start, stop):
                    batch = self.batch(step)
                    if not hand_over(batch.pinned() if pinned else batch):
                        return
            except BaseException as error:  # the outermost frame of the thread; raised again below
                hand_over(error)

        thread = threading.Thread(target=work, name="evossl-prefetch", daemon=True)
        thread.start()
        try:
            for _ in range(start, stop):
                since = time.perf_counter()
                item = ready.get()
                self.wait_seconds += time.perf_counter() - since
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            closed.set()
            thread.join()

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, _EPOCH, epoch]).permutation(len(self._videos))

    def _shapes(self, rows: Sequence[int]) -> list[Shape]:
        return [self._cache.shape(self._videos[row]) for row in rows]

    def _last_start(self, shape: Shape) -> int:
        """Return the last frame at which a full clip can start; 0 in a shorter video."""
        return max(shape[0] - self._stretch, 0)

    def _start(self, shape: Shape, rng: np.random.Generator) -> int:
        return int(rng.integers(self._last_start(shape) + 1))

    def _replace_failing(self, rows: list[int], step: int) -> list[int]:
        """Replace videos that cannot be decoded by random ones, given (seed, step, slot)."""
        for attempt in range(MAX_REPLACEMENTS):
            faults = self._cache.prepare([self._videos[row] for row in rows])
            if not faults:
                return rows
            self.failed |= faults
            rows = [
                self._replacement(step, slot, attempt) if self._videos[row].path in faults else row
                for slot, row in enumerate(rows)
            ]
        path, reason = next(iter(faults.items()))
        raise RunError(f"{MAX_REPLACEMENTS} videos in a row cannot be decoded: {path}: {reason}")

    def _replacement(self, step: int, slot: int, attempt: int) -> int:
        rng = np.random.default_rng([self._seed, _REPLACE, step, slot, attempt])
        return int(rng.integers(len(self._videos)))

    def _gather(
        self, rows: Sequence[int], shapes: Sequence[Shape], starts: Sequence[int]
    ) -> ClipBatch:
        """Read the clips into one array; a short one is padded with its last frame."""
        stretch, fps = self._stretch, self._cache.settings.fps
        size_B2 = np.array([size for _, *size in shapes], dtype=np.int64)
        max_size_2 = size_B2.max(axis=0)
        frame_BLHWC = np.empty((len(rows), stretch, *max_size_2, 3), np.uint8)
        waveform_BS = np.zeros((len(rows), round(stretch / fps * AUDIO_RATE)), np.float32)
        lengths, has_sound = [], []
        for slot, (row, start) in enumerate(zip(rows, starts, strict=True)):
            frame_LHWC = frame_BLHWC[slot]
            if (size_B2[slot] != max_size_2).any():
                frame_LHWC[:] = 0
            read_LHWC, sound_S = self._cache.read(
                self._videos[row], start, stretch, sound=self._sound, into=frame_LHWC
            )
            frame_LHWC[len(read_LHWC) :] = frame_LHWC[len(read_LHWC) - 1]
            lengths.append(len(read_LHWC))
            if sound_S is not None:
                waveform_BS[slot, : len(sound_S)] = sound_S
            has_sound.append(sound_S is not None and np.abs(sound_S).max(initial=0) > SILENCE_PEAK)
        return ClipBatch(
            frames_BLHWC=torch.from_numpy(frame_BLHWC),
            num_frames_B=torch.tensor(lengths),
            size_B2=torch.from_numpy(size_B2),
            waveform_BS=torch.from_numpy(waveform_BS),
            has_audio_B=torch.tensor(has_sound, dtype=torch.bool),
            video_id_B=torch.tensor(rows, dtype=torch.int64),
            fps=fps,
        )
