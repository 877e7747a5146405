"""Input shapes of views, and checks that a view can be built at all. No pixels are made.

Shapes: C channel, T frame or log-mel column, H height, W width, F mel band.
"""

from math import prod

from evossl.errors import UserError
from evossl.types import Stream
from evossl.views.crop import view_side
from evossl.views.log_mel import columns_per_frame
from evossl.views.masking import mask_shape, num_masked
from evossl.views.settings import ViewSettings
from evossl.views.spec import Mask, View
from evossl.views.temporal_sampling import (
    min_stretch_frames,
    min_window_steps,
    num_view_frames,
    stride_choices,
    window_steps,
)

MIN_CELL_PIXELS = 8  # side of a puzzle's piece: a backbone with five strides sees nothing in less
MAX_SEGMENTS = 20  # 20! is the largest factorial that fits 64 bits


def splits_segments(view: View) -> bool:
    """Return whether the pieces of the view are the segments of one clip, not independent draws."""
    return view.pieces > 1 and view.time.segments == view.pieces


def input_shape(view: View, settings: ViewSettings, fps: float) -> tuple[int, int, int, int]:
    """Return (C, T, H, W) of the input, for sound (1, 1, F, T); of one piece if it has pieces.

    Args:
        view: the recipe.
        settings: of the space.
        fps: frames per second of the stretch (`cache.fps`).
    """
    frames = num_view_frames(view, settings)
    if splits_segments(view):
        frames //= view.pieces
    if view.cells is not None:
        frames //= view.cells.times
    if view.stream == Stream.AUDIO:
        return 1, 1, settings.mel_bands, frames * columns_per_frame(fps)
    side = view_side(view, settings)
    return view.stream.channels, frames, side, side


def required_frames(view: View, settings: ViewSettings) -> int:
    """Return the fewest frames of a stretch with which a sample can be valid.

    A view with a shift may need more for a sample that drew a longer stride.
    """
    if view.within is not None:
        return required_frames(view.within, settings)
    return min_stretch_frames(_shortest_span(view, settings), shift=view.time.shift > 0)


def _shortest_span(view: View, settings: ViewSettings) -> int:
    """Return the frames that the window covers at the view's smallest stride."""
    return window_steps(view, settings) * stride_choices(view, settings)[0]


def check_fits(view: View, settings: ViewSettings, stretch: int, fps: float, name: str) -> None:
    """Raise an error if `view` can never be built from stretches of `stretch` frames.

    Args:
        view: the recipe.
        settings: of the space.
        stretch: `clip.stretch`.
        fps: `cache.fps`.
        name: of the view in errors, for example "order.rgb: view 'clip'".

    Raises:
        UserError: the stretch is too short, or frames and pixels cannot be divided as the view
            asks; the message says which key to change.
    """
    frames, time = num_view_frames(view, settings), view.time
    needed = required_frames(view, settings)
    if needed > stretch:
        raise UserError(
            f"{name} needs a stretch of {needed} frames, but clip.stretch is {stretch}: "
            f"raise clip.stretch to {needed} or lower clip.frames ({settings.frames})"
        )
    segments = time.segments if view.cells is None else view.cells.times
    if frames % segments or segments > MAX_SEGMENTS:
        raise UserError(
            f"{name} splits {frames} frames into {segments} segments: "
            f"choose clip.frames divisible by {segments} (at most {MAX_SEGMENTS} segments)"
        )
    if window_steps(view, settings) < min_window_steps(view, settings):
        raise UserError(
            f"{name} takes {frames} frames from step {time.offset} of a window of {time.window} "
            f"steps: raise its window or lower clip.frames"
        )
    _check_within(view, settings, name)
    _check_pixels(view, settings, fps, name)


def _check_within(view: View, settings: ViewSettings, name: str) -> None:
    if view.within is None:
        return
    needed = min_stretch_frames(_shortest_span(view, settings), shift=view.time.shift > 0)
    available = _shortest_span(view.within, settings)
    if needed > available:
        raise UserError(
            f"{name} needs {needed} frames, but the window of its outer view has {available}: "
            f"shorten the inner view or lengthen the outer one"
        )


def _check_pixels(view: View, settings: ViewSettings, fps: float, name: str) -> None:
    if view.space.kind == "clean" and view.space.scale is not None:
        raise UserError(f'{name} is clean but has a scale: use Space("weak", scale=...)')
    shape = input_shape(view, settings, fps)
    segments = 1 if splits_segments(view) else view.time.segments
    if view.stream == Stream.FLOW and shape[1] < 2 * segments:
        raise UserError(f"{name} has one frame per piece, but flow needs two: raise clip.frames")
    if view.cells is not None and min(shape[2:]) < MIN_CELL_PIXELS:
        min_size = MIN_CELL_PIXELS * max(view.cells.rows, view.cells.columns)
        raise UserError(
            f"{name} has cells of {shape[3]} pixels, but at least {MIN_CELL_PIXELS} are needed: "
            f"raise clip.size to {min_size} or more"
        )
    if view.mask is not None:
        _check_mask(view.mask, shape, name)


def _check_mask(mask: Mask, shape: tuple[int, int, int, int], name: str) -> None:
    sides = shape[2:]
    if any(side % mask.patch for side in sides):
        raise UserError(
            f"{name} masks blocks of {mask.patch} in an input of {' x '.join(map(str, sides))}: "
            "choose clip.size and clip.mel_bands divisible by the size of a block"
        )
    num_blocks = prod(mask_shape(mask, shape)[1:])
    masked = num_masked(mask, num_blocks)
    if not 0 < masked < num_blocks:
        raise UserError(
            f"{name} masks {masked} of {num_blocks} blocks: choose a ratio, or a smaller block, "
            "that masks some of them and leaves others visible"
        )
