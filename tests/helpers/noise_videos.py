"""Videos of pure noise, in which there is nothing to learn."""

from pathlib import Path

import av
import numpy as np

FPS, SIZE = 12, 40


def write_noise_videos(folder: Path, count: int, seconds: float) -> Path:
    """Write `count` H.264 videos whose every pixel is drawn anew, and return their folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        with av.open(str(folder / f"{number:03d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for _ in range(round(seconds * FPS)):
                pixels_HWC = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels_HWC, format="rgb24")))
            container.mux(stream.encode())
    return folder
