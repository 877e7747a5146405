"""A picture of what each choice of `ignores` does to a few clips.

Shapes: B clip, T frame, H height, W width, C channel.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from evossl.types import PIXEL_MEAN, PIXEL_SD, ClipBatch, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, STRONG, View

Frames = NDArray[np.uint8]
Row = tuple[str, list[Image.Image]]

NUM_FRAMES = 4  # shown of each view: the first, the last, and two in between
FRAME_SIDE = 96  # pixels
STRIP_WIDTH = NUM_FRAMES * FRAME_SIDE
TEXT_HEIGHT = 18  # pixels of a line of text
GAP = 12  # pixels between clips
MAX_NAME_LENGTH = 48  # characters of a clip's name
BACKGROUND, TITLE_COLOUR, NAME_COLOUR = "white", "black", "#555555"
CLIP = View(Stream.RGB, space=CLEAN)
VIEWS = tuple(View(Stream.RGB, space=STRONG, draw=draw) for draw in (0, 1))


def draw_preview(
    clips: ClipBatch,
    names: Sequence[str],
    settings: ViewSettings,
    choices: Mapping[str, tuple[str, ...]],
) -> Image.Image:
    """Return a picture with one column per clip: the clip itself, then two views per choice.

    The views are those that training and fitness would use.

    Args:
        clips: a decoded stretch of each video.
        names: titles of the columns.
        settings: view settings of the space; its `ignores` is not used.
        choices: {title of the rows: words of `ignores`}.
    """
    rows = list(_rows(clips, settings, choices))
    width = _left(max(len(names), 2))  # the titles of the rows need the width of two columns
    height = TEXT_HEIGHT + GAP + sum(map(_row_height, rows))
    picture = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13)
    for column, name in enumerate(names):
        pen.text((_left(column), 2), name[:MAX_NAME_LENGTH], fill=NAME_COLOUR, font=font)
    top = TEXT_HEIGHT
    for row in rows:
        title, strips = row
        if title:
            pen.text((GAP, top + 1), title, fill=TITLE_COLOUR, font=font)
        for column, strip in enumerate(strips):
            picture.paste(strip, (_left(column), top + TEXT_HEIGHT * bool(title)))
        top += _row_height(row)
    return picture


def _row_height(row: Row) -> int:
    title, _ = row
    return TEXT_HEIGHT * bool(title) + FRAME_SIDE + GAP // 3


def _rows(
    clips: ClipBatch, settings: ViewSettings, choices: Mapping[str, tuple[str, ...]]
) -> Iterator[Row]:
    """Yield (title, one strip per clip); the second view of a choice has no title."""
    yield "your clips", _strips(CLIP, clips, settings)
    for title, words in choices.items():
        chosen = replace(settings, ignores=words)
        for line, view in zip((title, ""), VIEWS, strict=True):
            yield line, _strips(view, clips, chosen)


def _strips(view: View, clips: ClipBatch, settings: ViewSettings) -> list[Image.Image]:
    """Return the view of each clip, its frames side by side."""
    x_BCTHW = build_views([view], clips, settings, seed=0, step=0)[view.input_key].pixels
    x_BTHWC = (x_BCTHW * PIXEL_SD + PIXEL_MEAN).permute(0, 2, 3, 4, 1).cpu().numpy()
    shown = np.linspace(0, x_BTHWC.shape[1] - 1, NUM_FRAMES).round().astype(int)
    frames: Frames = (x_BTHWC[:, shown].clip(0, 1) * 255).round().astype(np.uint8)
    return [_strip(clip) for clip in frames]


def _strip(frame_THWC: Frames) -> Image.Image:
    strip = Image.new("RGB", (STRIP_WIDTH, FRAME_SIDE), BACKGROUND)
    for column, frame in enumerate(frame_THWC):
        size = (FRAME_SIDE - 1, FRAME_SIDE)
        tile = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
        strip.paste(tile, (column * FRAME_SIDE, 0))
    return strip


def _left(column: int) -> int:
    return GAP + column * (STRIP_WIDTH + GAP)
