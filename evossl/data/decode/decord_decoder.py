"""The decoder of x86-64 Linux: decord, which seeks and scales in C++.

What decord cannot read faithfully (edit lists that start between key frames, broken packets, codecs
newer than its FFmpeg) goes to PyAV: decord would repeat neighbouring frames in silence.

Shapes: N frame of the file, T frame kept, H height, W width, C channel.
"""

import decord
import numpy as np
from decord._ffi.base import DECORDError, DECORDLimitReachedError
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    Layout,
    good_frames,
    layout_of,
    open_video,
    why_unreadable,
)
from evossl.data.decode.frame_selection import centre_crop, kept_size, nearest
from evossl.data.decode.pyav_decoder import PyAVDecoder

CHUNK = 64  # frames decoded at once: bounds what is held before cropping
NO_REPEATS = 1e-9  # share of frames that decord may replace by their neighbours


class DecordDecoder:
    """See `evossl.data.decode.decoder.Decoder`."""

    name = "decord"

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC; see `evossl.data.decode.decoder.Decoder.frames`."""
        with open_video(path) as (container, stream):
            first = next(good_frames(container, stream), None)
            if first is None:
                raise DecodeError(why_unreadable(path))
            layout = layout_of(first, stream)
        try:
            return _read(path, layout, fps, short_side, max_seconds)
        except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError):
            return PyAVDecoder().frames(path, fps, short_side, max_seconds)


def _read(
    path: str, layout: Layout, fps: float, short_side: int, max_seconds: float
) -> NDArray[np.uint8]:
    decord.logging.set_level(decord.logging.QUIET)  # it would write to stderr what we fall back on
    width, height = kept_size(layout.width, layout.height, short_side)
    reader = decord.VideoReader(
        path, width=width, height=height, num_threads=1, fault_tol=NO_REPEATS
    )
    time_N = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    if len(time_N) > 1 and np.diff(time_N).min() <= 0:
        raise RuntimeError("times do not ascend")
    index_T = nearest(time_N, fps, max_seconds)
    chunks = [
        centre_crop(reader.get_batch(index_T[start : start + CHUNK]).asnumpy())
        for start in range(0, len(index_T), CHUNK)
    ]
    return np.concatenate(chunks)
