"""What each choice of `ignores` does to a few clips: one picture of the views themselves.

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

Pictures = NDArray[np.uint8]

FRAMES = 4  # shown of each view: first, two between, last
SIDE = 96  # px of a frame
STRIP = FRAMES * SIDE
LINE = 18  # px of a line of text
GAP = 12  # px between clips
LETTERS = 48  # of a clip's name
PAPER, INK, FAINT = "white", "black", "#555555"
CLIP = View(Stream.RGB, space=CLEAN)
VIEWS = tuple(View(Stream.RGB, space=STRONG, draw=draw) for draw in (0, 1))


def choice_sheet(
    clips: ClipBatch,
    names: Sequence[str],
    settings: ViewSettings,
    choices: Mapping[str, tuple[str, ...]],
) -> Image.Image:
    """Return a picture: a column a clip; a row for the clips, then two views under each choice.

    The views are those that a training and its fitness would be shown.

    Args:
        clips: decoded stretches.
        names: a title for each clip.
        settings: of the space; its `ignores` is not used.
        choices: title: words of `ignores`.
    """
    rows = list(_rows(clips, settings, choices))
    width = _left(max(len(names), 2))  # two at least: the titles are that long
    height = LINE + GAP + sum(LINE * bool(title) + SIDE + GAP // 3 for title, _ in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, name in enumerate(names):
        pen.text((_left(column), 2), name[:LETTERS], fill=FAINT, font=font)
    top = LINE
    for title, strips in rows:
        if title:
            pen.text((GAP, top + 1), title, fill=INK, font=font)
            top += LINE
        for column, strip in enumerate(strips):
            sheet.paste(strip, (_left(column), top))
        top += SIDE + GAP // 3
    return sheet


def _rows(
    clips: ClipBatch, settings: ViewSettings, choices: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, list[Image.Image]]]:
    """Title (none for a choice's second view) and a strip for each clip."""
    yield "your clips", _strips(CLIP, clips, settings)
    for title, words in choices.items():
        chosen = replace(settings, ignores=words)
        for line, view in zip((title, ""), VIEWS, strict=True):
            yield line, _strips(view, clips, chosen)


def _strips(view: View, clips: ClipBatch, settings: ViewSettings) -> list[Image.Image]:
    """The view of each clip as frames side by side."""
    x_BCTHW = build_views([view], clips, settings, seed=0, step=0)[view.input_key].pixels
    x_BTHWC = (x_BCTHW * PIXEL_SD + PIXEL_MEAN).permute(0, 2, 3, 4, 1).cpu().numpy()
    shown = np.linspace(0, x_BTHWC.shape[1] - 1, FRAMES).round().astype(int)
    frames: Pictures = (x_BTHWC[:, shown].clip(0, 1) * 255).round().astype(np.uint8)
    return [_strip(clip) for clip in frames]


def _strip(frame_THWC: Pictures) -> Image.Image:
    strip = Image.new("RGB", (STRIP, SIDE), PAPER)
    for column, frame in enumerate(frame_THWC):
        tile = Image.fromarray(frame).resize((SIDE - 1, SIDE), Image.Resampling.BICUBIC)
        strip.paste(tile, (column * SIDE, 0))
    return strip


def _left(column: int) -> int:
    return GAP + column * (STRIP + GAP)
