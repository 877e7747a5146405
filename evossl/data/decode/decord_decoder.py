"""The decoder for x86-64 Linux: decord, which seeks and scales in C++.

Files that decord cannot decode faithfully (edit lists that start between key frames, broken
packets, codecs newer than its FFmpeg) are decoded by PyAV: decord would silently repeat
neighbouring frames.

Shapes: N frame of the file, T selected frame, H height, W width, C channel.
"""

import decord
import numpy as np
from decord._ffi.base import DECORDError, DECORDLimitReachedError
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    DisplayLayout,
    decodable_frames,
    display_layout,
    open_video,
    unreadable_reason,
)
from evossl.data.decode.frame_selection import centre_crop, nearest_frames, scaled_size
from evossl.data.decode.pyav_decoder import PyAVDecoder

CHUNK_FRAMES = 64  # decoded at once; bounds the memory of frames before cropping
MAX_REPEATED_FRACTION = 1e-9  # of frames that decord may replace by neighbours: none


class DecordDecoder:
    """Implements `evossl.data.decode.decoder.Decoder` with decord."""

    name = "decord"

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC; see `evossl.data.decode.decoder.Decoder.frames`."""
        with open_video(path) as (container, stream):
            first = next(decodable_frames(container, stream), None)
            if first is None:
                raise DecodeError(unreadable_reason(path))
            layout = display_layout(first, stream)
        try:
            return _read(path, layout, fps, short_side, max_seconds)
        except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError):
            return PyAVDecoder().frames(path, fps, short_side, max_seconds)


def _read(
    path: str, layout: DisplayLayout, fps: float, short_side: int, max_seconds: float
) -> NDArray[np.uint8]:
    decord.logging.set_level(decord.logging.QUIET)  # we handle its faults; it must not print them
    width, height = scaled_size(layout.width, layout.height, short_side)
    reader = decord.VideoReader(
        path, width=width, height=height, num_threads=1, fault_tol=MAX_REPEATED_FRACTION
    )
    time_N = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    if len(time_N) > 1 and np.diff(time_N).min() <= 0:
        raise RuntimeError("times are not ascending")
    index_T = nearest_frames(time_N, fps, max_seconds)
    chunks = [
        centre_crop(reader.get_batch(index_T[start : start + CHUNK_FRAMES]).asnumpy())
        for start in range(0, len(index_T), CHUNK_FRAMES)
    ]
    return np.concatenate(chunks)
