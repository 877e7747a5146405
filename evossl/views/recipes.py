"""Sets of views that several tasks ask for: equal ones are made and seen once.

Shapes: C channel, T frame, H height, W width.
"""

from evossl.streams import Stream
from evossl.views.spec import STRONG, Encoder, Space, Time, View

MOST_CLIPS = 4  # of one video: the large-scale study's rho
LOCAL_SCALE = (0.05, 0.3)  # share of the frame's area: up to where a strong view's begins
LOCAL_STEP = 8  # pixels: sides of local views are multiples of it
WHOLE = Time()


def clips_of_a_video(stream: Stream, rho: int, encoder: Encoder = "student") -> dict[str, View]:
    """Return the strong views "0", "1", ...: `rho` clips of a video, one in two views for rho 1.

    Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
    Representation Learning, CVPR 2021: clips of one video are each other's positives.

    Args:
        stream: of the views.
        rho: 1 to 4. The clips are of different times where the space ignores `time`.
        encoder: who sees them.

    Raises:
        ValueError: another number of clips.
    """
    if rho not in range(1, MOST_CLIPS + 1):
        raise ValueError(f"rho is the number of clips of a video, 1 to {MOST_CLIPS}, got {rho}")
    times = (0, 0) if rho == 1 else range(rho)
    return {
        str(draw): View(stream, space=STRONG, time_draw=time, space_draw=draw, encoder=encoder)
        for draw, time in enumerate(times)
    }


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
