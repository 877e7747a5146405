"""Which frames a decoder keeps, and at which size: the rules that all decoders share.

Pure functions of times and sizes; no pixels.

Shapes: N frame of the file, T frame kept.
"""

import math

import numpy as np
from numpy.typing import NDArray

TIE_SECONDS = 5e-4  # containers round times (Matroska to 1 ms, decord to float32): ties go early
MAX_ASPECT = 2  # of a kept frame; what is wider or taller is cropped at both ends


def nearest(time_N: NDArray[np.float64], fps: float, max_seconds: float) -> NDArray[np.int64]:
    """Return index_T: the frame presented nearest to each i / fps after the first one.

    T = max(1, round(duration * fps)), the duration at most `max_seconds`; the last frame lasts as
    long as the median one. Half-way between two frames the earlier one is taken.

    Args:
        time_N: presentation times in seconds, strictly ascending.
        fps: of the grid.
        max_seconds: end of the grid.
    """
    since_N = time_N - time_N[0]
    step = float(np.median(np.diff(since_N))) if len(since_N) > 1 else 0.0
    duration = min(float(since_N[-1]) + step, max_seconds)
    num_kept = max(1, math.floor(duration * fps + 0.5 + 1e-3))  # 1e-3: times are rounded
    middle = (since_N[1:] + since_N[:-1]) / 2 + TIE_SECONDS
    return np.searchsorted(middle, np.arange(num_kept) / fps, side="left").astype(np.int64)


def may_be_nearest(before: float, time: float, after: float, fps: float) -> bool:
    """Whether a grid time may be nearer to `time` than to its neighbours (seconds from the first).

    Never False for a frame that `nearest` takes: a stream can drop the others as they pass.
    """
    start = (before + time) / 2 + TIE_SECONDS
    end = (time + after) / 2 + TIE_SECONDS
    return math.floor(end * fps + 1e-6) > math.floor(start * fps - 1e-6)


def kept_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return (width, height) with the short side at `short_side`, aspect kept, before the crop."""
    scale = short_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def centre_crop(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the centre of the frame, at most `MAX_ASPECT` times as long as short.

    Leading axes (time) pass through.
    """
    height, width = frame_HWC.shape[-3:-1]
    keep_h, keep_w = min(height, MAX_ASPECT * width), min(width, MAX_ASPECT * height)
    top, left = (height - keep_h) // 2, (width - keep_w) // 2
    return frame_HWC[..., top : top + keep_h, left : left + keep_w, :]
