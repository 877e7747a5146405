"""The views of held-out clips that fitness_study.py encodes, beyond those of the fitness.

Shapes: N clip, C channel, T frame, H height, W width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.types import Stream
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, STRONG, WEAK, Time, View

SCORED_VIEWS = ("clean", "first", "second", "shuffled")
"""The views of `held_out_features`."""
LIDAR_VIEWS = tuple(f"strong{draw}" for draw in range(2, 8))
"""Six more strong views; with `first` and `second` there are eight."""
CROSS_VIEWS = {
    "flow": View(Stream.FLOW, space=CLEAN),
    "audio": View(Stream.AUDIO, space=CLEAN),
}
FAMILIES = {
    "family1": ("clean", False),
    "family2": ("clean", False),
    "colour_family1": ("weak_time1", True),
    "colour_family2": ("weak_time2", True),
}
"""Views of another augmentation family: name -> (the view it changes, whether colours change)."""
MAX_DEGREES, MAX_ZOOM = 20.0, 1.15
BLUR_SIGMAS = (0.3, 1.2)  # pixels
NOISE_SD = 0.3  # of normalised pixels, whose standard deviation is about 1
NUM_BLOCKS, BLOCK_SHARE = 3, 0.25  # squares of this share of the side, for all frames


def held_out_views(settings: ViewSettings, num_frames: int) -> dict[str, View]:
    """Return the views that `build_views` can make, by name.

    Args:
        settings: of the space.
        num_frames: frames of the shortest stretch; early views show its start, late ones its end.
    """
    frames = settings.frames
    early = Time(window=num_frames)
    late = Time(window=num_frames, offset=max(0, num_frames - frames))
    views = {
        "clean": View(Stream.RGB, space=CLEAN),
        "first": View(Stream.RGB, space=STRONG, draw=0),
        "second": View(Stream.RGB, space=STRONG, draw=1),
        "shuffled": View(Stream.RGB, time=Time(segments=frames, shuffle=1.0), space=CLEAN),
        "early_weak": View(Stream.RGB, time=early, space=WEAK, draw=20),
        "late_weak": View(Stream.RGB, time=late, space=WEAK, draw=21),
        "early_strong": View(Stream.RGB, time=early, space=STRONG, draw=22),
        "late_strong": View(Stream.RGB, time=late, space=STRONG, draw=23),
        "weak_time1": View(Stream.RGB, space=WEAK, draw=24),
        "weak_time2": View(Stream.RGB, space=WEAK, draw=25),
    }
    for draw, name in enumerate(LIDAR_VIEWS, start=2):
        views[name] = View(Stream.RGB, space=STRONG, draw=draw)
    return views


def other_family(x_NCTHW: Tensor, seed: int, *, colour: bool) -> Tensor:
    """Return clips that are rotated, blurred, noisy and partly hidden, differently for each clip.

    With `colour`, the three channels are also permuted, weighted and, for half of the clips,
    inverted. No task of the study's spaces trains with any of these.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    num_clips = len(x_NCTHW)
    x = x_NCTHW.float()
    if colour:
        x = _change_colours(x, uniform(num_clips, 3), uniform(num_clips, 3), uniform(num_clips))
    degrees_N = uniform(num_clips, low=-MAX_DEGREES, high=MAX_DEGREES)
    x = _rotate(x, degrees_N, uniform(num_clips, low=1.0, high=MAX_ZOOM))
    x = _blur(x, uniform(num_clips, low=BLUR_SIGMAS[0], high=BLUR_SIGMAS[1]))
    x = x + NOISE_SD * torch.randn(x.shape, generator=generator) * uniform(num_clips, 1, 1, 1, 1)
    return _hide_blocks(x, uniform(num_clips, NUM_BLOCKS, 2))


def _change_colours(x_NCTHW: Tensor, order_N3: Tensor, gain_N3: Tensor, flip_N: Tensor) -> Tensor:
    channel_N3 = order_N3.argsort(dim=1)
    index = channel_N3[:, :, None, None, None].expand_as(x_NCTHW)
    sign_N = torch.where(flip_N < 0.5, -1.0, 1.0)
    gain = (0.5 + gain_N3) * sign_N[:, None]
    return x_NCTHW.gather(1, index) * gain[:, :, None, None, None]


def _rotate(x_NCTHW: Tensor, degrees_N: Tensor, zoom_N: Tensor) -> Tensor:
    radians_N = torch.deg2rad(degrees_N)
    cos_N, sin_N = radians_N.cos() / zoom_N, radians_N.sin() / zoom_N
    zero_N = torch.zeros_like(cos_N)
    theta_N23 = torch.stack([cos_N, -sin_N, zero_N, sin_N, cos_N, zero_N], dim=1).view(-1, 2, 3)
    flat = x_NCTHW.flatten(1, 2)  # one grid for all frames of a clip
    grid = F.affine_grid(theta_N23, list(flat.shape), align_corners=False)
    turned = F.grid_sample(flat, grid, padding_mode="reflection", align_corners=False)
    return turned.view_as(x_NCTHW)


def _blur(x_NCTHW: Tensor, sigma_N: Tensor) -> Tensor:
    """Blur each frame by a separable Gaussian, as a product with one matrix per clip and axis."""

    def matrix(side: int) -> Tensor:
        place = torch.arange(side).float()
        square = (place[:, None] - place).square()
        kernel_NSS = (-square / (2 * sigma_N[:, None, None].square())).exp()
        return kernel_NSS / kernel_NSS.sum(dim=2, keepdim=True)

    height, width = x_NCTHW.shape[-2:]
    x = torch.einsum("nhi,nctiw->ncthw", matrix(height), x_NCTHW)
    return torch.einsum("nwi,ncthi->ncthw", matrix(width), x)


def _hide_blocks(x_NCTHW: Tensor, corner_NB2: Tensor) -> Tensor:
    height, width = x_NCTHW.shape[-2:]
    side = max(1, round(BLOCK_SHARE * height))
    top_NB = (corner_NB2[..., 0] * (height - side + 1)).long()
    left_NB = (corner_NB2[..., 1] * (width - side + 1)).long()
    row_H, column_W = torch.arange(height), torch.arange(width)
    in_rows = (row_H >= top_NB[..., None]) & (row_H < top_NB[..., None] + side)
    in_columns = (column_W >= left_NB[..., None]) & (column_W < left_NB[..., None] + side)
    hidden_NHW = (in_rows[..., :, None] & in_columns[..., None, :]).any(dim=1)
    return x_NCTHW.masked_fill(hidden_NHW[:, None, None], 0.0)


def names_at(step: int, full_steps: tuple[int, ...], bank: Mapping[str, Tensor]) -> list[str]:
    """Return the views that are encoded at a step: all at `full_steps`, else the scored ones."""
    streams = set(CROSS_VIEWS)
    if step in full_steps:
        return [name for name in bank if name not in streams]
    return [name for name in (*SCORED_VIEWS, "labelled") if name in bank]
