"""Contact sheets: for each of the largest clusters a row of clips, each as frames side by side.

Frames come from the run's clip cache: what is not in it is decoded by the cache's own worker
processes, so that no broken file can take the report with it.

Shapes: L frame of a clip, H height, W width, C channel.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.entry import entry_path
from evossl.data.decode.decoder import DecodeError
from evossl.data.index.index import Video
from evossl.errors import RunError, UserError
from evossl.report.read import Run
from evossl.report.records import Clusters, Example

FRAMES = 4  # of each clip: first, two between, last
HEIGHT = 72  # px at most
GAP = 2  # px between frames
CLUSTERS, CLIPS = 8, 8  # at most: 64 strips of 2 to 12 kB
QUALITY = 72  # of the JPEGs


@dataclass(frozen=True)
class Tile:
    """A clip: a JPEG of its frames side by side as data URI, or why there is none.

    Attributes:
        name: the last part of the video's path. path: the whole.
        image: data URI, or None. reason: in words where there is no image.
        width, height: of the image, in px.
    """

    name: str
    path: str
    image: str | None
    reason: str = ""
    width: int = 0
    height: int = 0


def contact_sheets(
    run: Run, progress: Callable[[int, int], None] | None = None
) -> list[list[Tile]]:
    """Return the tiles of each of the largest clusters; none before any clusters are known.

    Args:
        run: read.
        progress: called with (clips done, clips in all).
    """
    clusters = run.training.clusters if run.training else None
    if clusters is None or run.space is None:
        return []
    chosen = [row[:CLIPS] for row in clusters.examples[:CLUSTERS]]
    total = sum(map(len, chosen))
    done = 0
    sheets: list[list[Tile]] = []
    with closing(ClipCache(Path(run.info.cache), run.space.cache, workers=2)) as cache:
        absent = _decode(cache, run.videos, clusters)
        for row in chosen:
            sheets.append([])
            for example in row:
                sheets[-1].append(_tile(cache, run.space, run.videos, example, absent))
                done += 1
                if progress:
                    progress(done, total)
    return sheets


def _decode(cache: ClipCache, videos: Mapping[str, Video], clusters: Clusters) -> Mapping[str, str]:
    """Bring into the cache what is not there; return {path: reason} of what cannot be shown.

    A file that is gone is not asked for: the cache would note it as broken for good.
    """
    wanted = {
        e.path: videos[e.path]
        for row in clusters.examples[:CLUSTERS]
        for e in row[:CLIPS]
        if e.path in videos and not entry_path(cache.folder, cache.key(videos[e.path])).exists()
    }
    gone = {path: "the file is gone" for path in wanted if not Path(path).is_file()}
    try:
        return gone | cache.prepare([v for path, v in wanted.items() if path not in gone])
    except (RunError, UserError) as error:
        return dict.fromkeys(wanted, str(error))


def _tile(
    cache: ClipCache,
    space: SearchSpace,
    videos: Mapping[str, Video],
    example: Example,
    absent: Mapping[str, str],
) -> Tile:
    name = example.path.rstrip("/").rsplit("/", 1)[-1]
    video = videos.get(example.path)
    if video is None:
        return Tile(name, example.path, None, "not in the manifest")
    if example.path in absent:
        return Tile(name, example.path, None, absent[example.path])
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
    """Return the first, the last and the frames between, side by side, uint8 (H, W, C).

    The gaps are white; frames are shrunk to `HEIGHT`, never enlarged. A clip of fewer frames
    than `FRAMES` shows each once.
    """
    rows = frame_positions(len(frame_LHWC))
    height, width = frame_LHWC.shape[1:3]
    small = min(1.0, HEIGHT / height)
    size = (max(1, round(width * small)), max(1, round(height * small)))
    frames = [_resized(frame_LHWC[row], size) for row in rows]
    gap = np.full((size[1], GAP, 3), 255, np.uint8)
    parts = [part for frame in frames for part in (frame, gap)][:-1]
    return np.concatenate(parts, axis=1)


def frame_positions(count: int) -> Sequence[int]:
    """Return up to `FRAMES` rows spread over `count` frames, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, FRAMES)})


def _resized(frame_HWC: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if size == (frame_HWC.shape[1], frame_HWC.shape[0]):
        return frame_HWC
    image = Image.fromarray(np.ascontiguousarray(frame_HWC))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def data_uri(image_HWC: NDArray[np.uint8], kind: str = "jpeg") -> str:
    """Return an image as a data URI: "jpeg", or "png" where every value counts."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(
        buffer, kind, **({"quality": QUALITY} if kind == "jpeg" else {})
    )
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
