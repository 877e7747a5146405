"""Optical flow between the frames of a view, batched on their device, without gradient.

Coarse-to-fine Lucas-Kanade in its inverse compositional form (Baker and Matthews, IJCV 2004): the
gradients and the 2 x 2 normal equations are those of the first image, so that one iteration is one
warp, one smoothing of the errors and one of the flow. Like DIS (Kroeger et al., ECCV 2016), it
stops at half the resolution and subtracts the mean error of a neighbourhood, so that a change of
brightness is not seen as motion. Its precision comes from three things: warps are exact to second
order; pixels whose match lies outside the image are left out; and the flow is smoothed by
normalised convolution, weighted by how well each neighbourhood determines it (Knutsson and Westin,
CVPR 1993).

We use our own code because OpenCV's DIS runs on the CPU, one pair at a time, and torchvision's RAFT
is trained with ground-truth flow. On a CPU, ours is faster than DIS (docs/performance.md), with at
most 1.3 times its error.

Shapes: P pair of frames, B clip, T frame, H height, W width; images of a level are S x S.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evossl.views.crop import blur_matrix, resize_matrix

# Lengths and standard deviations are in pixels of the level.
MAX_CHUNK_PIXELS = 1 << 19  # frames are processed in chunks whose finest level fits a CPU's cache
MIN_LEVEL_SIDE = 8  # side of the coarsest level
COARSEST_ITERATIONS = (3, 2)  # in two rounds: only the second knows which matches lie outside
ITERATIONS = 2  # at each other level
IMAGE_SIGMA = 0.5  # blur of the images before the gradient
WINDOW_SIGMA = 2.0  # neighbourhood whose pixels are assumed to move together
SMOOTHING_SIGMA = 1.8  # smoothing of the flow after an iteration
DAMPING = 2e-4  # squared gradient per pixel; neighbourhoods with less keep the flow they have
MAX_STEP = 1.0  # largest change of the flow in one iteration
STATIC_SIGMA = 1.0  # neighbourhood in which "no motion" is compared with the flow
STATIC_ERROR = 2e-5  # squared luma: the error of a static scene, about 1.1 steps of 8 bits


@torch.no_grad()
def clip_flow(gray_BT1HW: Tensor) -> Tensor:
    """Return the flow (B, T, 2, H, W) of each frame to the next, (dx right, dy down) in pixels.

    It is such that next(x + flow(x)) = frame(x). The last field is repeated, so that there is one
    for each frame. Images must be square, with their luma in [0, 1].
    """
    b, t, _, height, width = gray_BT1HW.shape
    is_cpu = gray_BT1HW.device.type == "cpu"
    frames = max(2, MAX_CHUNK_PIXELS // (height * width)) if is_cpu else b * t
    clips = max(1, frames // t)
    chunks = [
        [
            _flow_of_chunk(gray_BT1HW[i : i + clips, j : j + frames])
            for j in range(0, t - 1, frames - 1)
        ]
        for i in range(0, b, clips)
    ]
    flow = torch.cat([torch.cat(chunk, dim=1) for chunk in chunks])
    return torch.cat([flow, flow[:, -1:]], dim=1)


def _flow_of_chunk(gray_BT1HW: Tensor) -> Tensor:
    """Return the flow (B, T - 1, 2, H, W); each frame is downscaled once for both its pairs."""
    b, t, _, height, size = gray_BT1HW.shape
    assert height == size, "views are square"
    sides = [max(size // 2, 1)]
    while sides[-1] // 2 >= MIN_LEVEL_SIDE:
        sides.append(sides[-1] // 2)
    flow = gray_BT1HW.new_zeros(b * (t - 1), 2, sides[-1], sides[-1])
    for number, side in enumerate(reversed(sides)):
        scaled_BT1SS = _downscale(gray_BT1HW.flatten(0, 1), side).view(b, t, 1, side, side)
        level = _level(scaled_BT1SS[:, :-1].flatten(0, 1), scaled_BT1SS[:, 1:].flatten(0, 1))
        if number:
            flow = _resize_flow(flow, side)
        for iterations in (ITERATIONS,) if number else COARSEST_ITERATIONS:
            flow = _refine(level, flow, iterations)
    return _resize_flow(_suppress_static(level, flow), size).view(b, t - 1, 2, size, size)


def _downscale(image_N1HW: Tensor, side: int) -> Tensor:
    length, device = image_N1HW.shape[-1], image_N1HW.device
    matrix = _blur_matrix(IMAGE_SIGMA, side, device) @ _resize_matrix(length, side, device)
    return _apply_to_both_axes(matrix, image_N1HW)


@dataclass(frozen=True)
class _Level:
    """What does not change during the iterations at one resolution.

    Attributes:
        first: (P, 1, S, S), the first images.
        second: (P, 3, S, S), the second images and their second differences in x and y.
        gradient: (P, 2, S, S) of the first images.
        inner: (S, S), 0 on the border, otherwise 1.
        window, smoothing: (S, S), matrices of the two Gaussian blurs.
        position: (2, S, S), x and y of each pixel.
    """

    first: Tensor
    second: Tensor
    gradient: Tensor
    inner: Tensor
    window: Tensor
    smoothing: Tensor
    position: Tensor


def _level(first_P1SS: Tensor, second_P1SS: Tensor) -> _Level:
    side, device = first_P1SS.shape[-1], first_P1SS.device
    padded = F.pad(second_P1SS, (1, 1, 1, 1), mode="replicate")
    second_x = padded[:, :, 1:-1, 2:] + padded[:, :, 1:-1, :-2] - 2 * second_P1SS
    second_y = padded[:, :, 2:, 1:-1] + padded[:, :, :-2, 1:-1] - 2 * second_P1SS
    index = torch.arange(side, device=device, dtype=torch.float32)
    return _Level(
        first=first_P1SS,
        second=torch.cat([second_P1SS, second_x, second_y], dim=1),
        gradient=torch.cat(torch.gradient(first_P1SS, dim=(3, 2)), dim=1),
        inner=F.pad(first_P1SS.new_ones(side - 2, side - 2), (1, 1, 1, 1)),
        window=_blur_matrix(WINDOW_SIGMA, side, device),
        smoothing=_blur_matrix(SMOOTHING_SIGMA, side, device),
        position=torch.stack([index.expand(side, side), index[:, None].expand(side, side)]),
    )


def _refine(level: _Level, flow_P2SS: Tensor, iterations: int) -> Tensor:
    """Return the flow after some iterations; which pixels count depends on the flow given.

    Sums are made in place: on a CPU each pass over these images costs as much as a smoothing.
    """
    # One pixel on each side is left out: the images of a level are biased along their borders.
    is_used = _is_inside(level.position + flow_P2SS) * level.inner
    moments = flow_P2SS.new_empty(len(flow_P2SS), 6, *level.inner.shape)
    used_gradient = moments[:, 3:]  # gradient in x and y, and 1, of the pixels used
    torch.mul(level.gradient, is_used, out=used_gradient[:, :2])
    used_gradient[:, 2:] = is_used
    torch.mul(used_gradient[:, :1], used_gradient[:, :2], out=moments[:, :2])
    torch.mul(used_gradient[:, 1], used_gradient[:, 1], out=moments[:, 2])
    xx, xy, yy, sum_x, sum_y, share = _apply_to_both_axes(level.window, moments).unbind(dim=1)
    share.add_(1e-6)
    mean_x, mean_y = sum_x / share, sum_y / share
    xx.sub_(mean_x * sum_x)
    xy.sub_(mean_x * sum_y)
    yy.sub_(mean_y * sum_y)
    half_difference = (xx - yy).mul_(0.5)
    root = xy.square().add_(half_difference.square_()).sqrt_()
    min_eigenvalue = (xx + yy).mul_(0.5).sub_(root)
    confidence = (min_eigenvalue / (min_eigenvalue + 2 * DAMPING)).clamp_(min=1e-4)[:, None]
    normaliser = _apply_to_both_axes(level.smoothing, confidence).reciprocal_()
    xx.add_(DAMPING)
    yy.add_(DAMPING)
    determinant = (xx * yy).sub_(xy * xy)
    for product in (xx, xy, yy):
        product.div_(determinant)
    for _ in range(iterations):
        error = _warp(level.second, level.position + flow_P2SS).neg_().add_(level.first)
        ex, ey, mean = _apply_to_both_axes(level.window, used_gradient * error).unbind(dim=1)
        ex.sub_(mean_x * mean)
        ey.sub_(mean_y * mean)
        step = torch.empty_like(flow_P2SS)
        torch.mul(yy, ex, out=step[:, 0]).sub_(xy * ey)
        torch.mul(xx, ey, out=step[:, 1]).sub_(xy * ex)
        flow_P2SS = step.clamp_(-MAX_STEP, MAX_STEP).add_(flow_P2SS).mul_(confidence)
        flow_P2SS = _apply_to_both_axes(level.smoothing, flow_P2SS).mul_(normaliser)
    return flow_P2SS


def _suppress_static(level: _Level, flow_P2SS: Tensor) -> Tensor:
    """Return the flow, shortened where no motion explains the second image better.

    Without it, smoothing spreads the motion of small things into a static background.
    """
    target = level.position + flow_P2SS
    static = (level.first - level.second[:, :1]).square()
    moved = (level.first - _warp(level.second, target)).square()
    near = _blur_matrix(STATIC_SIGMA, flow_P2SS.shape[-1], flow_P2SS.device)
    errors = _apply_to_both_axes(near, torch.cat([static, moved], dim=1)) + STATIC_ERROR
    factor = (errors[:, :1] / errors[:, 1:]).clamp(max=1).square()
    return torch.where(_is_inside(target), flow_P2SS * factor, flow_P2SS)


def _is_inside(target_P2SS: Tensor) -> Tensor:
    """Return bool (P, 1, S, S): at least half a pixel inside the centres of the border pixels."""
    side = target_P2SS.shape[-1]
    return (target_P2SS - (side - 1) / 2).abs_().amax(dim=1, keepdim=True) <= side / 2 - 1


def _warp(second_P3SS: Tensor, target_P2SS: Tensor) -> Tensor:
    """Return the second image at the target positions, (P, 1, S, S).

    The error of linear interpolation, t (1 - t) / 2 times the second derivative, is subtracted.
    """
    side = second_P3SS.shape[-1]
    grid = (target_P2SS + 0.5).mul_(2 / side).sub_(1)
    sampled = F.grid_sample(
        second_P3SS, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )
    part = target_P2SS - target_P2SS.floor()
    correction = part.mul_(1 - part).mul_(sampled[:, 1:]).mul_(0.5)
    return (sampled[:, :1] - correction[:, :1]).sub_(correction[:, 1:])


def _blur_matrix(sigma: float, side: int, device: torch.device) -> Tensor:
    """Return a Gaussian blur as a matrix (side, side)."""
    return blur_matrix(torch.tensor([sigma], device=device), side)[0]


def _resize_matrix(length: int, out: int, device: torch.device) -> Tensor:
    """Return antialiased resampling of a whole axis as a matrix (out, length)."""
    whole = torch.tensor([float(length)], device=device)
    return resize_matrix(torch.zeros_like(whole), whole, length, out)[0]


def _resize_flow(flow_P2SS: Tensor, side: int) -> Tensor:
    """Return the flow at another resolution, in pixels of that resolution."""
    before = flow_P2SS.shape[-1]
    matrix = _resize_matrix(before, side, flow_P2SS.device)
    return _apply_to_both_axes(matrix, flow_P2SS) * (side / before)


def _apply_to_both_axes(matrix_OS: Tensor, x_PCSS: Tensor) -> Tensor:
    return matrix_OS @ (x_PCSS @ matrix_OS.T)
