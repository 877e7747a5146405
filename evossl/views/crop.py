"""Crop, flip, blur and antialiased resizing as two batched matrix products.

Torchvision's crops take one box per call. Here each sample has its own box, and all samples are
resized on their device in one matrix product per axis (docs/performance.md). The matrices A_h
(out, H) and A_w (W, out) hold the triangle filter of
`torch.nn.functional.interpolate(mode="bilinear", antialias=True)`.

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

RANDOM_CROP_ASPECT = (3 / 4, 4 / 3)  # as for Inception
CENTRE_JITTER = 0.1  # a central square shrinks by up to this fraction: at 64 pixels, 3 on each side
MIN_CROP_PIXELS = 2.0  # side of the smallest crop, in pixels of the frame
BLUR_PROBABILITY = 0.5
# Standard deviation in sides of the view; milder than SimCLR's 0.1 to 2 pixels at 224 pixels.
BLUR_SIGMA = (0.1 / 64, 1.0 / 64)
MAX_BLUR_EXPONENT = 16.0  # smaller Gaussian weights than e^-16, the precision of float32, are zero


@dataclass(frozen=True)
class SpacePlan:
    """The pixels that each sample of a view shows.

    Attributes:
        box_B4: float32, (top, left, height, width) of the crop in pixels of the sample's frame.
        flipped_B: bool, mirrored left to right.
        blur_B: float32, standard deviation of the blur in pixels of the view; 0 for none.
        size: side of the view in pixels.
    """

    box_B4: Tensor
    flipped_B: Tensor
    blur_B: Tensor
    size: int

    def relative_box_B4(self, size_B2: Tensor) -> Tensor:
        """Return the crop as fractions of the frames' (height, width) `size_B2`."""
        return self.box_B4 / size_B2.float().repeat(1, 2)


def view_side(view: View, settings: ViewSettings) -> int:
    """Return the side in pixels of the view, or of one piece if it is a puzzle."""
    if view.space.size is not None:
        return view.space.size
    cells = view.cells
    return settings.size if cells is None else settings.size // max(cells.rows, cells.columns)


def plan_space(
    view: View, clips: ClipBatch, settings: ViewSettings, rng: StepRNG, outer: SpacePlan | None
) -> SpacePlan:
    """Return the crop, flip and blur of each sample; the crop lies inside that of `outer`."""
    draw, batch, size = view.space_draw, len(clips), view_side(view, settings)
    assert draw is not None
    strong = view.space.kind == "strong"
    flip_probability = 0.5 if strong and "flip" in settings.ignores else 0.0
    blur_B = torch.zeros(batch, device=clips.size_B2.device)
    if strong and "noise" in settings.ignores:
        low, high = BLUR_SIGMA
        sigma_B = rng.uniform(draw, "blur sigma", batch, low=low * size, high=high * size)
        sigma_B = sigma_B * settings.augmentation.noise_strength
        blur_B = sigma_B * rng.bernoulli(draw, "blur", BLUR_PROBABILITY, batch)
    return SpacePlan(
        box_B4=_draw_box(view, clips, settings, rng, outer),
        flipped_B=rng.bernoulli(draw, "flip", flip_probability, batch),
        blur_B=blur_B,
        size=size,
    )


def _draw_box(
    view: View, clips: ClipBatch, settings: ViewSettings, rng: StepRNG, outer: SpacePlan | None
) -> Tensor:
    """Return box_B4 of each sample's crop, in pixels of its frame."""
    space, draw, batch = view.space, view.space_draw, len(clips)
    assert draw is not None
    frame_B2 = clips.size_B2.float()
    if outer is None:
        region_B4 = torch.cat([torch.zeros_like(frame_B2), frame_B2], 1)
    else:
        region_B4 = outer.box_B4
    scale = space.scale
    if scale is None and space.kind == "strong" and "crop" in settings.ignores:
        scale = (settings.augmentation.min_crop_area, 1.0)
    if space.kind == "clean":
        return _centre_crop(region_B4, torch.zeros(batch, 3, device=frame_B2.device))
    if scale is None:
        return _centre_crop(region_B4, rng.uniform(draw, "centre", batch, 3))
    u_B4 = rng.uniform(draw, "crop", batch, 4)
    return _random_crop(frame_B2.prod(dim=1), region_B4, scale, u_B4)


def _centre_crop(region_B4: Tensor, u_B3: Tensor) -> Tensor:
    """Return the largest centred square, shrunk by up to `CENTRE_JITTER` and moved inside it."""
    extent_B2 = region_B4[:, 2:]
    square_B1 = extent_B2.amin(dim=1, keepdim=True)
    side_B1 = square_B1 * (1 - CENTRE_JITTER * u_B3[:, :1])
    corner_B2 = region_B4[:, :2] + (extent_B2 - square_B1) / 2
    corner_B2 = corner_B2 + u_B3[:, 1:] * (square_B1 - side_B1)
    return torch.cat([corner_B2, side_B1, side_B1], dim=1)


def _random_crop(
    area_B: Tensor, region_B4: Tensor, scale: tuple[float, float], u_B4: Tensor
) -> Tensor:
    """Return a box anywhere in the region, of a fraction `scale` of the area, log-uniform aspect.

    A box that is too tall or too wide for the region is shrunk at constant aspect ratio.
    """
    low, high = RANDOM_CROP_ASPECT
    aspect_B = torch.exp(log(low) + u_B4[:, 1] * (log(high) - log(low)))
    crop_area_B = area_B * (scale[0] + u_B4[:, 0] * (scale[1] - scale[0]))
    extent_B2 = torch.stack([(crop_area_B / aspect_B).sqrt(), (crop_area_B * aspect_B).sqrt()], 1)
    shrink_B1 = (region_B4[:, 2:] / extent_B2).amin(dim=1, keepdim=True).clamp(max=1)
    extent_B2 = (shrink_B1 * extent_B2).clamp(min=MIN_CROP_PIXELS)
    extent_B2 = torch.minimum(extent_B2, region_B4[:, 2:])
    corner_B2 = region_B4[:, :2] + u_B4[:, 2:] * (region_B4[:, 2:] - extent_B2)
    return torch.cat([corner_B2, extent_B2], dim=1)


def resize_matrix(start_B: Tensor, extent_B: Tensor, length: int, out: int) -> Tensor:
    """Return A (B, out, length): antialiased bilinear resampling of [start, start + extent).

    The weights are triangle((i + 0.5 - c_o) / max(extent / out, 1)) over the pixels i whose centres
    lie in the crop, where c_o is the centre of output pixel o. Each row sums to 1.
    """
    device = start_B.device
    pixel_L = torch.arange(length, device=device) + 0.5
    centre_O = torch.arange(out, device=device) + 0.5
    step_B11 = (extent_B / out)[:, None, None]
    is_inside_BL = (pixel_L >= start_B[:, None]) & (pixel_L <= (start_B + extent_B)[:, None])
    centre_BO1 = start_B[:, None, None] + centre_O[:, None] * step_B11
    distance_BOL = (pixel_L - centre_BO1).abs() / step_B11.clamp(min=1.0)
    weight_BOL = (1 - distance_BOL).clamp(min=0) * is_inside_BL[:, None, :]
    return weight_BOL / weight_BOL.sum(dim=2, keepdim=True)


def blur_matrix(sigma_B: Tensor, size: int) -> Tensor:
    """Return G (B, size, size): Gaussian blur, the identity where sigma is 0; rows sum to 1."""
    pixel_O = torch.arange(size, device=sigma_B.device, dtype=torch.float32)
    square_OO = (pixel_O[:, None] - pixel_O).square()
    exponent_BOO = square_OO / (2 * sigma_B.clamp(min=1e-3).square()[:, None, None])
    # Weights too small to change a float32 sum are set to zero: products with denormal numbers take
    # ten times as long.
    weight_BOO = torch.exp(-exponent_BOO.clamp(max=MAX_BLUR_EXPONENT))
    weight_BOO = weight_BOO * (exponent_BOO < MAX_BLUR_EXPONENT)
    return weight_BOO / weight_BOO.sum(dim=2, keepdim=True)


def crop_frames(
    frames_BLHWC: Tensor, index_BT: Tensor, plan: SpacePlan, shift_BT2: Tensor | None
) -> Tensor:
    """Return float32 (B, T, C, size, size) in [0, 1]: the planned crop of the chosen frames.

    Args:
        frames_BLHWC: uint8 stretches; only the chosen frames are converted to float.
        index_BT: int64, numbers of the frames to take.
        plan: the crop of each sample.
        shift_BT2: int64, pixels of the view by which each frame is moved (down, right), or None.
    """
    batch = torch.arange(len(index_BT), device=index_BT.device)[:, None]
    x_BTHWC = frames_BLHWC[batch, index_BT].float().div_(255)
    b, t, height, width, channels = x_BTHWC.shape
    size = plan.size
    top_B, left_B, height_B, width_B = plan.box_B4.unbind(dim=1)
    blur_BOO = blur_matrix(plan.blur_B, size)
    vertical_BOH = blur_BOO @ resize_matrix(top_B, height_B, height, size)
    horizontal_BOW = blur_BOO @ resize_matrix(left_B, width_B, width, size)
    horizontal_BOW = torch.where(
        plan.flipped_B[:, None, None], horizontal_BOW.flip(1), horizontal_BOW
    )
    vertical, horizontal = vertical_BOH[:, None], horizontal_BOW[:, None]
    if shift_BT2 is not None:
        vertical = _shift_rows(vertical, shift_BT2[..., 0])
        horizontal = _shift_rows(horizontal, shift_BT2[..., 1])
    x = vertical @ x_BTHWC.view(b, t, height, width * channels)
    x = x.view(b, t, size, width, channels).permute(0, 1, 4, 2, 3).reshape(b, t, -1, width)
    return (x @ horizontal.transpose(2, 3)).view(b, t, channels, size, size)


def _shift_rows(a_B1OL: Tensor, shift_BT: Tensor) -> Tensor:
    """Return (B, T, O, L): rows moved down by `shift`; the row at the edge is repeated."""
    out, length = a_B1OL.shape[2:]
    row_O = torch.arange(out, device=shift_BT.device)
    source_BTO = (row_O - shift_BT[..., None]).clamp(0, out - 1)
    b, t = shift_BT.shape
    return a_B1OL.expand(b, t, out, length).gather(
        2, source_BTO[..., None].expand(b, t, out, length)
    )
