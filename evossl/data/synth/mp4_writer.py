"""Write frames and sound as H.264 and AAC in MP4 with PyAV; equal input gives equal bytes.

Shapes: T frame, H height, W width, C channel, S audio sample.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from evossl.io.files import write_atomically
from evossl.types import AUDIO_RATE

AUDIO_BIT_RATE = 32_000  # bits per second
X264_OPTIONS = {"crf": "18", "preset": "superfast", "threads": "1", "g": "12"}
AAC_OPTIONS = {"aac_coder": "fast"}


def write_mp4(
    path: Path, frame_THWC: NDArray[np.uint8], fps: int, waveform_S: NDArray[np.float32]
) -> None:
    """Write a video with sound, atomically.

    Args:
        path: the file; its folder is created if it does not exist.
        frame_THWC: RGB; height and width are even.
        fps: frames per second.
        waveform_S: mono at `AUDIO_RATE`.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    write_atomically(
        path, lambda temporary: _mux(temporary, frame_THWC, fps, waveform_S), durable=False
    )


def _mux(
    path: Path, frame_THWC: NDArray[np.uint8], fps: int, waveform_S: NDArray[np.float32]
) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        picture = container.add_stream("libx264", rate=fps, options=dict(X264_OPTIONS))
        picture.height, picture.width = frame_THWC.shape[1:3]
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream(
            "aac", rate=AUDIO_RATE, layout="mono", options=dict(AAC_OPTIONS)
        )
        sound.bit_rate = AUDIO_BIT_RATE
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
