"""Contact sheets: example clips of each of the largest clusters, each as frames side by side.

Frames come from the run's clip cache. Videos that are not in it are decoded by the cache's own
worker processes, so a broken file cannot crash the report.

Shapes: L frame of a clip, H height, W width, C channel.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.clip_file import clip_path
from evossl.data.decode.decoder import DecodeError
from evossl.data.index.index import Video
from evossl.errors import RunError, UserError
from evossl.report.contents import RunContents
from evossl.report.records import Clusters, Example
from evossl.types import Progress

NUM_FRAMES = 4  # per clip: the first, two between, the last
MAX_HEIGHT = 72  # px
GAP_WIDTH = 2  # px between frames
MAX_CLUSTERS, MAX_CLIPS = 8, 8  # so at most 64 strips of 2 to 12 kB
JPEG_QUALITY = 72


@dataclass(frozen=True)
class Tile:
    """A clip as a JPEG of its frames side by side, or the reason why there is none.

    Attributes:
        name: the last part of the video's path.
        path: the whole path.
        image: a data URI, or None.
        reason: why there is no image.
        width: of the image, in px.
        height: of the image, in px.
    """

    name: str
    path: str
    image: str | None
    reason: str = ""
    width: int = 0
    height: int = 0


def contact_sheets(run: RunContents, progress: Progress | None = None) -> list[list[Tile]]:
    """Return the tiles of each of the largest clusters; an empty list if there are no clusters yet.

    Args:
        run: what its folder contains.
        progress: called with (clips done, number of clips).
    """
    clusters = run.training.clusters if run.training else None
    if clusters is None or run.space is None:
        return []
    chosen = [row[:MAX_CLIPS] for row in clusters.examples[:MAX_CLUSTERS]]
    total = sum(map(len, chosen))
    done = 0
    sheets: list[list[Tile]] = []
    with closing(ClipCache(Path(run.info.cache), run.space.cache, workers=2)) as cache:
        missing = _decode(cache, run.videos.by_path, clusters)
        for row in chosen:
            sheets.append([])
            for example in row:
                sheets[-1].append(_tile(cache, run.space, run.videos.by_path, example, missing))
                done += 1
                if progress:
                    progress(done, total)
    return sheets


def _decode(cache: ClipCache, videos: Mapping[str, Video], clusters: Clusters) -> Mapping[str, str]:
    """Fill the cache with the missing videos; return {path: reason} of those that cannot be shown.

    A deleted file is not requested, because the cache would mark it as broken for good.
    """
    wanted = {
        e.path: videos[e.path]
        for row in clusters.examples[:MAX_CLUSTERS]
        for e in row[:MAX_CLIPS]
        if e.path in videos and not clip_path(cache.folder, cache.key(videos[e.path])).exists()
    }
    deleted = {path: "the file no longer exists" for path in wanted if not Path(path).is_file()}
    try:
        return deleted | cache.prepare([v for path, v in wanted.items() if path not in deleted])
    except (RunError, UserError) as error:
        return dict.fromkeys(wanted, str(error))


def _tile(
    cache: ClipCache,
    space: SearchSpace,
    videos: Mapping[str, Video],
    example: Example,
    missing: Mapping[str, str],
) -> Tile:
    name = example.path.rstrip("/").rsplit("/", 1)[-1]
    video = videos.get(example.path)
    if video is None:
        return Tile(name, example.path, None, "the video is not in the manifest")
    if example.path in missing:
        return Tile(name, example.path, None, missing[example.path])
    try:
        count, _, _ = cache.shape(video)
        first = min(max(round(example.start * space.cache.fps), 0), count - 1)
        frame_LHWC, _ = cache.read(video, first, space.clip.stretch)
    except (DecodeError, RunError, UserError) as error:
        return Tile(name, example.path, None, str(error))
    strip = film_strip(frame_LHWC)
    height, width = strip.shape[:2]
    return Tile(name, example.path, data_uri(strip), width=width, height=height)


def film_strip(frame_LHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames from the first to the last side by side, uint8 (H, W, C).

    The gaps are white. Frames are shrunk to `MAX_HEIGHT`, never enlarged. A clip with fewer than
    `NUM_FRAMES` frames shows each of them once.
    """
    rows = frame_positions(len(frame_LHWC))
    height, width = frame_LHWC.shape[1:3]
    small = min(1.0, MAX_HEIGHT / height)
    size = (max(1, round(width * small)), max(1, round(height * small)))
    frames = [_resize(frame_LHWC[row], size) for row in rows]
    gap = np.full((size[1], GAP_WIDTH, 3), 255, np.uint8)
    parts = [part for frame in frames for part in (frame, gap)][:-1]
    return np.concatenate(parts, axis=1)


def frame_positions(count: int) -> Sequence[int]:
    """Return up to `NUM_FRAMES` evenly spaced positions, including the first and the last."""
    return sorted({round(x) for x in np.linspace(0, count - 1, NUM_FRAMES)})


def _resize(frame_HWC: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if size == (frame_HWC.shape[1], frame_HWC.shape[0]):
        return frame_HWC
    image = Image.fromarray(np.ascontiguousarray(frame_HWC))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def data_uri(image_HWC: NDArray[np.uint8], kind: str = "jpeg") -> str:
    """Return an image as a data URI: "jpeg", or "png" to keep every value."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(
        buffer, kind, **({"quality": JPEG_QUALITY} if kind == "jpeg" else {})
    )
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
