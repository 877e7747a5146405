"""Crop, flip, blur and antialiased resize as two batched matrix products.

Each sample has its own matrices: A_h (out, H) and A_w (W, out) with the triangle filter that
`torch.nn.functional.interpolate(mode="bilinear", antialias=True)` gives of the crop.

Shapes: B clip, T frame, C channel, H height, W width, O side of the view.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings
from evossl.views.spec import View
from evossl.views.step_rng import StepRNG

RANDOM_CROP_SCALE = (0.3, 1.0)  # share of the area; CVRL (Qian et al., CVPR 2021) for video
RANDOM_CROP_ASPECT = (3 / 4, 4 / 3)  # Inception's
JITTER = 0.1  # a centre crop's side shrinks by up to this share: at 64 pixels, up to 3 each side
SMALLEST_CROP = 2.0  # pixels of the frame
BLUR_PROBABILITY = 0.5
LAST = 16.0  # exponent of the smallest Gaussian weight: e^-16 is the precision of float32
BLUR_SIGMA = (0.1 / 64, 1.0 / 64)  # in sides of the view; SimCLR's 0.1 to 2 at 224 pixels, milder


@dataclass(frozen=True)
class SpacePlan:
    """Which pixels each sample of a view shows.

    Attributes:
        box_B4: float32, (top, left, height, width) in pixels of the sample's frame.
        flipped_B: bool. blur_B: float32, standard deviation in pixels of the view, 0 for none.
        size: side of the view in pixels.
    """

    box_B4: Tensor
    flipped_B: Tensor
    blur_B: Tensor
    size: int

    def relative_box_B4(self, size_B2: Tensor) -> Tensor:
        """Return the box in shares of the frame."""
        return self.box_B4 / size_B2.float().repeat(1, 2)


def side(view: View, settings: ViewSettings) -> int:
    """Return the pixels of a side of the view, or of one of its cells."""
    if view.space.size is not None:
        return view.space.size
    cells = view.cells
    return settings.size if cells is None else settings.size // max(cells.rows, cells.columns)


def plan_space(
    view: View, clips: ClipBatch, settings: ViewSettings, draws: StepRNG, outer: SpacePlan | None
) -> SpacePlan:
    """Return the crop of each sample; inside the crop of `outer` where there is one."""
    space, draw, batch = view.space, view.space_draw, len(clips)
    assert draw is not None
    frame_B2 = clips.size_B2.float()
    region_B4 = (
        torch.cat([torch.zeros_like(frame_B2), frame_B2], 1) if outer is None else outer.box_B4
    )
    strong = space.kind == "strong"
    scale = space.scale
    if scale is None and strong and "crop" in settings.ignores:
        scale = RANDOM_CROP_SCALE
    if space.kind == "clean":
        box_B4 = _centre_crop(region_B4, torch.zeros(batch, 3, device=frame_B2.device))
    elif scale is None:
        box_B4 = _centre_crop(region_B4, draws.uniform(draw, "centre", batch, 3))
    else:
        u_B4 = draws.uniform(draw, "crop", batch, 4)
        box_B4 = _random_crop(frame_B2.prod(dim=1), region_B4, scale, u_B4)
    flips = 0.5 if strong and "flip" in settings.ignores else 0.0
    size = side(view, settings)
    blur_B = torch.zeros(batch, device=frame_B2.device)
    if strong and "noise" in settings.ignores:
        low, high = BLUR_SIGMA
        sigma_B = draws.uniform(draw, "blur sigma", batch, low=low * size, high=high * size)
        blur_B = sigma_B * draws.bernoulli(draw, "blur", BLUR_PROBABILITY, batch)
    return SpacePlan(box_B4, draws.bernoulli(draw, "flip", flips, batch), blur_B, size)


def _centre_crop(region_B4: Tensor, u_B3: Tensor) -> Tensor:
    """Return the largest centred square, up to JITTER smaller and moved inside it by u."""
    extent_B2 = region_B4[:, 2:]
    square_B1 = extent_B2.amin(dim=1, keepdim=True)
    side_B1 = square_B1 * (1 - JITTER * u_B3[:, :1])
    corner_B2 = region_B4[:, :2] + (extent_B2 - square_B1) / 2
    corner_B2 = corner_B2 + u_B3[:, 1:] * (square_B1 - side_B1)
    return torch.cat([corner_B2, side_B1, side_B1], dim=1)


def _random_crop(
    area_B: Tensor, region_B4: Tensor, scale: tuple[float, float], u_B4: Tensor
) -> Tensor:
    """Return a box of a share `scale` of the area, log-uniform aspect, anywhere in the region.

    A box that is too tall or too wide for the region shrinks and keeps its aspect.
    """
    low, high = RANDOM_CROP_ASPECT
    aspect_B = torch.exp(log(low) + u_B4[:, 1] * (log(high) - log(low)))
    crop_area_B = area_B * (scale[0] + u_B4[:, 0] * (scale[1] - scale[0]))
    extent_B2 = torch.stack([(crop_area_B / aspect_B).sqrt(), (crop_area_B * aspect_B).sqrt()], 1)
    fit_B1 = (region_B4[:, 2:] / extent_B2).amin(dim=1, keepdim=True).clamp(max=1)
    extent_B2 = torch.minimum((fit_B1 * extent_B2).clamp(min=SMALLEST_CROP), region_B4[:, 2:])
    corner_B2 = region_B4[:, :2] + u_B4[:, 2:] * (region_B4[:, 2:] - extent_B2)
    return torch.cat([corner_B2, extent_B2], dim=1)


def resize_matrix(start_B: Tensor, extent_B: Tensor, length: int, out: int) -> Tensor:
    """Return A (B, out, length): antialiased bilinear resampling of [start, start + extent).

    Weights are triangle((i + 0.5 - c_o) / max(extent / out, 1)) over the pixels i whose centres lie
    in the crop, with c_o the centre of output pixel o, and sum to 1.
    """
    device = start_B.device
    pixel_L = torch.arange(length, device=device) + 0.5
    centre_O = torch.arange(out, device=device) + 0.5
    step_B11 = (extent_B / out)[:, None, None]
    inside_BL = (pixel_L >= start_B[:, None]) & (pixel_L <= (start_B + extent_B)[:, None])
    centre_BO1 = start_B[:, None, None] + centre_O[:, None] * step_B11
    distance_BOL = (pixel_L - centre_BO1).abs() / step_B11.clamp(min=1.0)
    weight_BOL = (1 - distance_BOL).clamp(min=0) * inside_BL[:, None, :]
    return weight_BOL / weight_BOL.sum(dim=2, keepdim=True)


def blur_matrix(sigma_B: Tensor, size: int) -> Tensor:
    """Return G (B, size, size): Gaussian smoothing, identity where sigma is 0, rows sum to 1."""
    pixel_O = torch.arange(size, device=sigma_B.device, dtype=torch.float32)
    square_OO = (pixel_O[:, None] - pixel_O).square()
    exponent_BOO = square_OO / (2 * sigma_B.clamp(min=1e-3).square()[:, None, None])
    # Weights that no sum in float32 shows are zero: products with denormals take ten times as long.
    weight_BOO = torch.exp(-exponent_BOO.clamp(max=LAST)) * (exponent_BOO < LAST)
    return weight_BOO / weight_BOO.sum(dim=2, keepdim=True)


def crop_frames(
    frames_BLHWC: Tensor, index_BT: Tensor, plan: SpacePlan, shift_BT2: Tensor | None
) -> Tensor:
    """Return float32 (B, T, C, size, size) in [0, 1]: the planned crop of the chosen frames.

    Args:
        frames_BLHWC: uint8 stretches; only the chosen frames are converted.
        index_BT: int64, frames to take.
        plan: the crop.
        shift_BT2: int64, pixels of the view by which each frame is moved (down, right), or None.
    """
    batch = torch.arange(len(index_BT), device=index_BT.device)[:, None]
    x_BTHWC = frames_BLHWC[batch, index_BT].float().div_(255)
    b, t, height, width, channels = x_BTHWC.shape
    size = plan.size
    top_B, left_B, tall_B, wide_B = plan.box_B4.unbind(dim=1)
    blur_BOO = blur_matrix(plan.blur_B, size)
    down_BOH = blur_BOO @ resize_matrix(top_B, tall_B, height, size)
    across_BOW = blur_BOO @ resize_matrix(left_B, wide_B, width, size)
    across_BOW = torch.where(plan.flipped_B[:, None, None], across_BOW.flip(1), across_BOW)
    down, across = down_BOH[:, None], across_BOW[:, None]
    if shift_BT2 is not None:
        down, across = (_moved(a, shift_BT2[..., axis]) for axis, a in enumerate((down, across)))
    x = down @ x_BTHWC.view(b, t, height, width * channels)
    x = x.view(b, t, size, width, channels).permute(0, 1, 4, 2, 3).reshape(b, t, -1, width)
    return (x @ across.transpose(2, 3)).view(b, t, channels, size, size)


def _moved(a_B1OL: Tensor, shift_BT: Tensor) -> Tensor:
    """Return (B, T, O, L): rows moved by `shift`, the edge row repeated."""
    out, length = a_B1OL.shape[2:]
    row_O = torch.arange(out, device=shift_BT.device)
    source_BTO = (row_O - shift_BT[..., None]).clamp(0, out - 1)
    b, t = shift_BT.shape
    return a_B1OL.expand(b, t, out, length).gather(
        2, source_BTO[..., None].expand(b, t, out, length)
    )
