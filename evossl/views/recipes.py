"""Views that several tasks use. Equal views are built and encoded once for all tasks.

Shapes: C channel, T frame, H height, W width.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from evossl.types import Stream
from evossl.views.spec import STRONG, WEAK, Cells, Channels, Mask, Role, Space, Time, View

MAX_RHO = 4  # clips of one video, as in the large-scale study
MAX_LOCAL_CROPS = 100  # per clip; at most ten are published
Rho = Annotated[int, Field(ge=1, le=MAX_RHO)]
LocalCropCount = Annotated[int, Field(ge=0, le=MAX_LOCAL_CROPS)]
LOCAL_CROP_AREA = (0.05, 0.3)  # fraction of the frame; the crops of a strong view are larger
MASKED_CROP_AREA = (0.3, 1.0)  # V-JEPA's
LOCAL_SIDE_MULTIPLE = 8  # pixels
WHOLE_CLIP = Time()
TIME_PUZZLE = Cells(times=4)


def strong_clips(stream: Stream, rho: int) -> dict[str, View]:
    """Return strongly augmented views "0", "1", ...: `rho` clips of a video, all positives.

    With rho 1 there are two views of one clip. Feichtenhofer, Fan, Xiong, Girshick, He, A
    Large-Scale Study on Unsupervised Spatiotemporal Representation Learning, CVPR 2021.

    Args:
        stream: the stream of the views.
        rho: 1 to 4. The clips start at different times if the space ignores `time`.

    Raises:
        ValueError: rho is out of range.
    """
    if rho not in range(1, MAX_RHO + 1):
        raise ValueError(f"rho, the number of clips per video, must be 1 to {MAX_RHO}, got {rho}")
    time_draws = (0, 0) if rho == 1 else range(rho)
    return {
        str(draw): View(stream, space=STRONG, time_draw=time_draw, space_draw=draw)
        for draw, time_draw in enumerate(time_draws)
    }


def momentum_views(views: Mapping[str, View], prefix: str = "momentum") -> dict[str, View]:
    """Return the same views for the momentum encoder: "momentum 0" for "0", and so on."""
    return {f"{prefix} {name}": replace(v, encoder=Role.MOMENTUM) for name, v in views.items()}


def local_crop_views(
    stream: Stream,
    input_shape: tuple[int, int, int, int],
    count: int,
    time: Time = WHOLE_CLIP,
    within: View | None = None,
) -> dict[str, View]:
    """Return the view "local", which has `count` small crops at independent times (multi-crop).

    Audio has no spatial crops: the result is empty. Caron et al., Unsupervised Learning of Visual
    Features by Contrasting Cluster Assignments, NeurIPS 2020, section 3.2.

    Args:
        stream: the stream of the view.
        input_shape: (C, T, H, W) of the encoder's input.
        count: number of crops; with 0 the result is empty.
        time: temporal sampling of each crop.
        within: the view whose crop and window contain the crops; None for the whole stretch.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"the number of local crops must be 0 or more, got {count}")
    if count == 0 or stream is Stream.AUDIO:
        return {}
    space = Space("strong", LOCAL_CROP_AREA, local_crop_side(input_shape[-1]))
    draw = MAX_RHO  # the draws before it belong to `strong_clips`
    return {"local": View(stream, time, space, draw, pieces=count, within=within)}


def local_crop_side(side: int) -> int:
    """Return half of a view's side, rounded to a multiple of 8 and at least 8 pixels.

    >>> [local_crop_side(side) for side in (16, 32, 64, 112)]
    [8, 16, 32, 56]
    """
    return max(LOCAL_SIDE_MULTIPLE, round(side / 2 / LOCAL_SIDE_MULTIPLE) * LOCAL_SIDE_MULTIPLE)


def puzzle_view(stream: Stream, cells: Cells, time: Time = WHOLE_CLIP) -> View:
    """Return a view whose pieces are the cells, in a random order.

    Each piece of RGB shows one randomly chosen channel three times. Kim, Cho, Kweon,
    Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles, AAAI 2019.
    """
    channels: Channels = "random" if stream is Stream.RGB else "all"
    return View(stream, time, WEAK, cells=cells, channels=channels)


def time_puzzle_view(stream: Stream, input_shape: tuple[int, int, int, int]) -> View:
    """Return the puzzle of four segments in time, each half as long as the encoder's input.

    Audio segments are a quarter of the input each, because the number of video frames that audio
    spans is not known here.

    Args:
        stream: the stream of the view.
        input_shape: (C, T, H, W) of the encoder's input.
    """
    if stream is Stream.AUDIO:
        return puzzle_view(stream, TIME_PUZZLE)
    frames = TIME_PUZZLE.times * max(1, input_shape[1] // 2)
    return puzzle_view(stream, TIME_PUZZLE, Time(frames=frames))


def masked_and_full_views(stream: Stream, mask: Mask, full_role: Role) -> dict[str, View]:
    """Return "masked", for the student, and "full": the same pixels without the mask.

    Both are randomly cropped and not augmented further, as in VideoMAE and V-JEPA.

    Args:
        stream: the stream of both views.
        mask: the mask of the first view.
        full_role: the encoder of the second view.
    """
    space = Space("weak", MASKED_CROP_AREA)
    return {
        "masked": View(stream, space=space, mask=mask),
        "full": View(stream, space=space, encoder=full_role),
    }
