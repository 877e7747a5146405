"""Small video files and index rows, for the tests of index, cache and loader."""

from pathlib import Path
from typing import Any

import av
import numpy as np

from evossl.data.index.index import Video
from evossl.io.remote import file_status


def write_video(
    path: Path, *, frames: int = 12, fps: int = 12, seed: int = 0, sound: float | None = None
) -> Path:
    """Write H.264 video of 64 x 48 that grows brighter, and `sound` seconds of an AAC tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for t in range(frames):
            image = texture + np.uint8(10 + 180 * t // frames)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            count = round(sound * 16_000)
            tone = 0.5 * np.sin(np.arange(count) * 2 * np.pi * 440 / 16_000)
            for start in range(0, count, 1024):
                block = tone[None, start : start + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def as_video(path: Path | str, **changes: Any) -> Video:
    """Return the row that an index would have for the file."""
    status = file_status(str(path))
    fields: dict[str, Any] = {
        "path": str(path),
        "label": None,
        "group": str(path),
        "seconds": 1.0,
        "fps": 12.0,
        "num_frames": 12,
        "width": 64,
        "height": 48,
        "has_audio": False,
        "bytes": status.bytes,
        "mtime_ns": status.mtime_ns,
    }
    return Video(**(fields | changes))
