"""A loader of videos that are painted in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evossl.types import ClipBatch

SIZE, FRAMES = 16, 4


@dataclass(frozen=True)
class PaintedClips:
    """A loader of given videos, each (L, H, W, 3); shorter ones are padded with black frames."""

    videos: Sequence[np.ndarray]

    def clips(self, indices: Sequence[int], draw: int) -> ClipBatch:
        """Return whole videos, whatever the draw."""
        chosen = [self.videos[row] for row in indices]
        length = max(len(video) for video in chosen)
        frames = np.zeros((len(chosen), length, *chosen[0].shape[1:]), dtype=np.uint8)
        for b, video in enumerate(chosen):
            frames[b, : len(video)] = video
        count = len(chosen)
        return ClipBatch(
            frames_BLHWC=torch.from_numpy(frames),
            num_frames_B=torch.tensor([len(video) for video in chosen]),
            size_B2=torch.tensor([video.shape[1:3] for video in chosen]),
            waveform_BS=torch.zeros(count, 0),
            has_audio_B=torch.zeros(count, dtype=torch.bool),
            video_id_B=torch.tensor(indices),
            fps=12.0,
        )


def moving_bar(rightwards: bool, phase: int, rng: np.random.Generator) -> np.ndarray:
    """Return a bright bar that moves over noise; no single frame shows its direction."""
    frames = rng.integers(0, 60, size=(12, SIZE, SIZE, 3), dtype=np.uint8)
    for t in range(12):
        columns = (phase + 2 * (t if rightwards else -t) + np.arange(4)) % SIZE
        frames[t, :, columns] = 255
    return frames
