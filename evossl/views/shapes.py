"""What a view needs and gives, known without making it.

Shapes: C channel, T frame or log-mel column, H height, W width, F mel band.
"""

from math import prod

from evossl.errors import UserError
from evossl.types import Stream
from evossl.views.crop import side
from evossl.views.log_mel import columns_per_frame
from evossl.views.masking import mask_shape, num_masked
from evossl.views.settings import ViewSettings
from evossl.views.spec import Mask, View
from evossl.views.temporal_sampling import (
    min_stretch_frames,
    min_window_steps,
    num_view_frames,
    strides,
    window_steps,
)

SMALLEST_CELL = 8  # pixels: less shows a backbone of five strides next to nothing
MOST_SEGMENTS = 20  # 20! is the last factorial that fits 64 bits


def splits_segments(view: View) -> bool:
    """Return whether the view's pieces are the segments of one clip, not clips drawn apart."""
    return view.pieces > 1 and view.time.segments == view.pieces


def input_shape(view: View, settings: ViewSettings, fps: float) -> tuple[int, int, int, int]:
    """Return (C, T, H, W) of the view's input, sound (1, 1, F, T); of one piece if it has pieces.

    Args:
        view: the recipe.
        settings: of the space.
        fps: frames a second of the stretch (`cache.fps`).
    """
    frames = num_view_frames(view, settings)
    if splits_segments(view):
        frames //= view.pieces
    if view.cells is not None:
        frames //= view.cells.times
    if view.stream == Stream.AUDIO:
        return 1, 1, settings.mel_bands, frames * columns_per_frame(fps)
    size = side(view, settings)
    return view.stream.channels, frames, size, size


def required_frames(view: View, settings: ViewSettings) -> int:
    """Return the fewest frames of stretch with which a sample can be valid.

    With strides drawn or a shift, a sample that drew a longer stride may need more.
    """
    if view.within is not None:
        return required_frames(view.within, settings)
    span = window_steps(view, settings) * strides(view, settings)[0]
    return min_stretch_frames(span, shift=view.time.shift > 0)


def check_fits(view: View, settings: ViewSettings, stretch: int, fps: float, name: str) -> None:
    """Check that `view` can be made of a stretch of `stretch` frames.

    Args:
        view: the recipe.
        settings: of the space.
        stretch: `clip.stretch`.
        fps: `cache.fps`.
        name: of the view in errors: "order.rgb: view 'clip'".

    Raises:
        UserError: the stretch can never hold it, or its parts do not divide; says what would.
    """
    frames, time = num_view_frames(view, settings), view.time
    needed = required_frames(view, settings)
    if needed > stretch:
        raise UserError(
            f"{name} needs {needed} frames of a stretch, clip.stretch is {stretch}: "
            f"raise clip.stretch to {needed} or lower clip.frames ({settings.frames})"
        )
    segments = time.segments if view.cells is None else view.cells.times
    if frames % segments or segments > MOST_SEGMENTS:
        raise UserError(
            f"{name} cuts {frames} frames into {segments} segments: "
            f"choose clip.frames divisible by {segments} (at most {MOST_SEGMENTS} segments)"
        )
    if window_steps(view, settings) < min_window_steps(view, settings):
        raise UserError(
            f"{name} takes {frames} frames from step {time.offset} of a window of {time.window}: "
            f"raise its window or lower clip.frames"
        )
    _check_inside(view, settings, name)
    _check_pixels(view, settings, fps, name)


def _check_inside(view: View, settings: ViewSettings, name: str) -> None:
    if view.within is None:
        return
    inner = window_steps(view, settings) * strides(view, settings)[0]
    inner = min_stretch_frames(inner, shift=view.time.shift > 0)
    outer = window_steps(view.within, settings) * strides(view.within, settings)[0]
    if inner > outer:
        raise UserError(f"{name} needs {inner} frames, its outer view has {outer}: shorten it")


def _check_pixels(view: View, settings: ViewSettings, fps: float, name: str) -> None:
    if view.space.kind == "clean" and view.space.scale is not None:
        raise UserError(f'{name} is clean and has a scale: use Space("weak", scale=...)')
    channels_frames_sides = input_shape(view, settings, fps)
    segments = 1 if splits_segments(view) else view.time.segments
    if view.stream == Stream.FLOW and channels_frames_sides[1] < 2 * segments:
        raise UserError(f"{name} has one frame a piece: flow needs two; raise clip.frames")
    if view.cells is not None and min(channels_frames_sides[2:]) < SMALLEST_CELL:
        raise UserError(
            f"{name} has cells of {channels_frames_sides[3]} pixels: raise clip.size to "
            f"{SMALLEST_CELL * max(view.cells.rows, view.cells.columns)} or more"
        )
    if view.mask is not None:
        _check_mask(view.mask, channels_frames_sides, name)


def _check_mask(mask: Mask, shape: tuple[int, int, int, int], name: str) -> None:
    sides = shape[2:]
    if any(side % mask.patch for side in sides):
        raise UserError(
            f"{name} blanks blocks of {mask.patch} in {' x '.join(map(str, sides))}: choose "
            "clip.size and clip.mel_bands that the block divides"
        )
    blocks = prod(mask_shape(mask, shape)[1:])
    blanked = num_masked(mask, blocks)
    if not 0 < blanked < blocks:
        raise UserError(
            f"{name} blanks {blanked} of {blocks} blocks: choose a ratio, or a smaller block, that "
            "blanks some of them and leaves some"
        )
