"""Writing frames and sound as H.264 and AAC in MP4, the same bytes every time. PyAV.

Shapes: T frame, H height, W width, C channel, S audio sample.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from evossl.io.files import write_atomically
from evossl.types import AUDIO_RATE

AUDIO_BITS = 32_000  # a second
X264 = {"crf": "18", "preset": "superfast", "threads": "1", "g": "12"}
AAC = {"aac_coder": "fast"}


def write_mp4(
    path: Path, frame_THWC: NDArray[np.uint8], fps: int, waveform_S: NDArray[np.float32]
) -> None:
    """Write a video with sound; the file is whole or not there.

    Args:
        path: its folder is made if need be.
        frame_THWC: RGB, even sizes.
        fps: frames a second.
        waveform_S: mono at `AUDIO_RATE`.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    write_atomically(path, lambda beside: _mux(beside, frame_THWC, fps, waveform_S), durable=False)


def _mux(
    path: Path, frame_THWC: NDArray[np.uint8], fps: int, waveform_S: NDArray[np.float32]
) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        picture = container.add_stream("libx264", rate=fps, options=dict(X264))
        picture.height, picture.width = frame_THWC.shape[1:3]
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=AUDIO_RATE, layout="mono", options=dict(AAC))
        sound.bit_rate = AUDIO_BITS
        for number, frame_HWC in enumerate(frame_THWC):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(picture.encode(frame))
        samples = av.AudioFrame.from_ndarray(waveform_S[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts = AUDIO_RATE, 0
        samples.time_base = Fraction(1, AUDIO_RATE)
        container.mux(sound.encode(samples))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
