"""Which frames a decoder selects, and at which size: rules that all decoders share.

The functions compute with times and sizes, not with pixels, except `centre_crop`.

Shapes: N frame of the file, T selected frame.
"""

import math

import numpy as np
from numpy.typing import NDArray

TIE_SECONDS = 5e-4  # containers round times (Matroska to 1 ms, decord to float32)
MAX_ASPECT = 2  # long side to short side; longer frames are cropped at both ends


def nearest_frames(
    time_N: NDArray[np.float64], fps: float, max_seconds: float
) -> NDArray[np.int64]:
    """Return index_T: the frame presented nearest to each time i / fps after the first frame.

    T = max(1, round(duration * fps)), with the duration limited to `max_seconds`; the last frame
    lasts as long as the median one. Half-way between two frames the earlier one is selected.

    Args:
        time_N: presentation times in seconds, strictly ascending.
        fps: frames per second to select.
        max_seconds: end of the selection.
    """
    since_N = time_N - time_N[0]
    step = float(np.median(np.diff(since_N))) if len(since_N) > 1 else 0.0
    duration = min(float(since_N[-1]) + step, max_seconds)
    num_selected = max(1, math.floor(duration * fps + 0.5 + 1e-3))  # 1e-3 for rounded times
    middle = (since_N[1:] + since_N[:-1]) / 2 + TIE_SECONDS
    return np.searchsorted(middle, np.arange(num_selected) / fps, side="left").astype(np.int64)


def may_be_selected(before: float, time: float, after: float, fps: float) -> bool:
    """Return whether `nearest_frames` may select the frame presented at `time`.

    Never False for a frame that it selects, so that a one-pass decoder can drop the others.

    Args:
        before: time of the previous frame, in seconds after the first frame.
        time: of this frame.
        after: of the next frame.
        fps: frames per second to select.
    """
    start = (before + time) / 2 + TIE_SECONDS
    end = (time + after) / 2 + TIE_SECONDS
    return math.floor(end * fps + 1e-6) > math.floor(start * fps - 1e-6)


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return (width, height) scaled so that the short side is `short_side`; not cropped yet."""
    scale = short_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def centre_crop(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the centre of the frame, whose long side is at most `MAX_ASPECT` times the short one.

    There may be leading axes (time).
    """
    height, width = frame_HWC.shape[-3:-1]
    keep_h, keep_w = min(height, MAX_ASPECT * width), min(width, MAX_ASPECT * height)
    top, left = (height - keep_h) // 2, (width - keep_w) // 2
    return frame_HWC[..., top : top + keep_h, left : left + keep_w, :]
