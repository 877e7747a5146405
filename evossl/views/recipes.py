"""Sets of views that several tasks ask for: equal ones are made and seen once.

Shapes: C channel, T frame, H height, W width.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from evossl.types import Stream
from evossl.views.spec import STRONG, WEAK, Cells, Channels, Mask, Role, Space, Time, View

MOST_CLIPS = 4  # of one video: the large-scale study's rho
MOST_CROPS = 100  # small ones of one clip; ten are the most that is published
Rho = Annotated[int, Field(ge=1, le=MOST_CLIPS)]
NumCrops = Annotated[int, Field(ge=0, le=MOST_CROPS)]
LOCAL_SCALE = (0.05, 0.3)  # share of the frame's area: up to where a strong view's begins
MASKED_SCALE = (0.3, 1.0)  # V-JEPA's
LOCAL_STEP = 8  # pixels: sides of local views are multiples of it
WHOLE = Time()
SEGMENTS = Cells(times=4)


def strong_clips(stream: Stream, rho: int) -> dict[str, View]:
    """Return the strong views "0", "1", ...: `rho` clips of a video, one in two views for rho 1.

    Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
    Representation Learning, CVPR 2021: clips of one video are each other's positives.

    Args:
        stream: of the views.
        rho: 1 to 4. The clips are of different times where the space ignores `time`.

    Raises:
        ValueError: another number of clips.
    """
    if rho not in range(1, MOST_CLIPS + 1):
        raise ValueError(f"rho is the number of clips of a video, 1 to {MOST_CLIPS}, got {rho}")
    times = (0, 0) if rho == 1 else range(rho)
    return {
        str(draw): View(stream, space=STRONG, time_draw=time, space_draw=draw)
        for draw, time in enumerate(times)
    }


def momentum_views(views: Mapping[str, View], prefix: str = "slow") -> dict[str, View]:
    """Return "slow 0" for a view "0", ...: the same pixels for the encoder's moving average."""
    return {f"{prefix} {name}": replace(v, encoder=Role.MOMENTUM) for name, v in views.items()}


def local_crops(
    stream: Stream,
    input_shape: tuple[int, int, int, int],
    count: int,
    time: Time = WHOLE,
    within: View | None = None,
) -> dict[str, View]:
    """Return the view "local" of `count` small crops at times of their own, none for sound.

    Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments,
    NeurIPS 2020, section 3.2 (multi-crop). Sound has no space to crop.

    Args:
        stream: of the views.
        input_shape: (C, T, H, W) of the encoder's input.
        count: of the crops; 0 for none.
        time: of each.
        within: the view in whose crop and window they lie; None is the whole stretch.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"the number of local crops is 0 or more, got {count}")
    if count == 0 or stream is Stream.AUDIO:
        return {}
    space = Space("strong", LOCAL_SCALE, local_side(input_shape[-1]))
    draw = MOST_CLIPS  # the draws before it are the clips'
    return {"local": View(stream, time, space, draw, pieces=count, within=within)}


def local_side(side: int) -> int:
    """Return half of a view's side, rounded to a multiple of 8 and not below 8.

    >>> [local_side(side) for side in (16, 32, 64, 112)]
    [8, 16, 32, 56]
    """
    return max(LOCAL_STEP, round(side / 2 / LOCAL_STEP) * LOCAL_STEP)


def puzzle(stream: Stream, cells: Cells, time: Time = WHOLE) -> View:
    """Return the view whose pieces are the cells; RGB shows one of its channels (`View.channels`).

    Kim, Cho, Kweon, Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles,
    AAAI 2019 (channel replication).
    """
    channels: Channels = "one" if stream is Stream.RGB else "own"
    return View(stream, time, WEAK, cells=cells, channels=channels)


def segments_of_time(stream: Stream, input_shape: tuple[int, int, int, int]) -> View:
    """Return the puzzle of `SEGMENTS`: four pieces, each half as long as the clip.

    Of sound, whose length in frames is not known here, each is a quarter of the clip.

    Args:
        stream: of the view.
        input_shape: (C, T, H, W) of the encoder's input.
    """
    if stream is Stream.AUDIO:
        return puzzle(stream, SEGMENTS)
    return puzzle(stream, SEGMENTS, Time(frames=SEGMENTS.times * max(1, input_shape[1] // 2)))


def masked_and_whole(stream: Stream, mask: Mask, whole: Role) -> dict[str, View]:
    """Return "masked", which the student sees, and "whole", the same pixels with nothing blanked.

    Cropped at random and otherwise as they are, as in VideoMAE and V-JEPA.

    Args:
        stream: of both.
        mask: what is blanked.
        whole: who sees the other one.
    """
    space = Space("weak", MASKED_SCALE)
    return {
        "masked": View(stream, space=space, mask=mask),
        "whole": View(stream, space=space, encoder=whole),
    }
