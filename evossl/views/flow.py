"""Optical flow between the frames of a view, batched on its device, without gradient.

Coarse-to-fine Lucas-Kanade in its inverse compositional form (Baker and Matthews, IJCV 2004): the
gradients and the 2 x 2 normal equations are those of the first image, so that a step is one warp,
one smoothing of the errors and one of the flow. As DIS (Kroeger et al., ECCV 2016) does, it stops
at half the resolution, and takes the mean error of a neighbourhood away, so that it sees motion and
not a change of light. Three things carry its precision: warps are exact to second order, pixels
whose match lies outside the image do not vote, and the flow is smoothed by normalised convolution,
weighted by how well a neighbourhood determines it (Knutsson and Westin, CVPR 1993).

Shapes: P pair of frames, B clip, T frame, H height, W width; level images are S x S.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evossl.views.crop import blur_matrix, resize_matrix

MAX_CHUNK_PIXELS = (
    1 << 19
)  # pixels of frames: of more, a CPU's cache does not hold the finest level
COARSEST = 8  # pixels of the coarsest level's side, at least
STEPS_COARSEST = (3, 2)  # twice, as the first time no flow says yet which matches lie outside
STEPS = 2
IMAGE_SIGMA = 0.5  # pixels of the level
WINDOW_SIGMA = 2.0  # pixels of the level: the neighbourhood that moves as one
SMOOTH_SIGMA = 1.8  # pixels of the level
PULL = 2e-4  # squared gradient per pixel below which a neighbourhood keeps the flow it has
LONGEST_STEP = 1.0  # pixels of the level
STILL_SIGMA = 1.0  # pixels of the level: the neighbourhood in which no motion is tried
STILL_NOISE = 2e-5  # squared luma: the error of a still scene, about 1.1 steps of 8 bits


@torch.no_grad()
def clip_flow(gray_BT1HW: Tensor) -> Tensor:
    """Return flow (B, T, 2, H, W) of each frame to the next, (dx right, dy down) in pixels.

    It is such that next(x + flow(x)) = frame(x). The last field is repeated, so that there is one
    for each frame. Images are square, their luma in [0, 1].
    """
    b, t, _, height, width = gray_BT1HW.shape
    frames = (
        max(2, MAX_CHUNK_PIXELS // (height * width)) if gray_BT1HW.device.type == "cpu" else b * t
    )
    clips = max(1, frames // t)
    parts = [
        [_flow_of(gray_BT1HW[i : i + clips, j : j + frames]) for j in range(0, t - 1, frames - 1)]
        for i in range(0, b, clips)
    ]
    flow = torch.cat([torch.cat(part, dim=1) for part in parts])
    return torch.cat([flow, flow[:, -1:]], dim=1)


def _flow_of(gray_BT1HW: Tensor) -> Tensor:
    """Return flow (B, T - 1, 2, H, W), coarse to fine; a frame is scaled once for its two pairs."""
    b, t, _, height, size = gray_BT1HW.shape
    assert height == size, "views are square"
    sides = [max(size // 2, 1)]
    while sides[-1] // 2 >= COARSEST:
        sides.append(sides[-1] // 2)
    flow = gray_BT1HW.new_zeros(b * (t - 1), 2, sides[-1], sides[-1])
    for number, side in enumerate(reversed(sides)):
        scaled_BT1SS = _scaled(gray_BT1HW.flatten(0, 1), side).view(b, t, 1, side, side)
        level = _level(scaled_BT1SS[:, :-1].flatten(0, 1), scaled_BT1SS[:, 1:].flatten(0, 1))
        if number:
            flow = _resized(flow, side)
        for steps in (STEPS,) if number else STEPS_COARSEST:
            flow = _refine(level, flow, steps)
    return _resized(_stand_still(level, flow), size).view(b, t - 1, 2, size, size)


def _scaled(image_N1HW: Tensor, side: int) -> Tensor:
    device = image_N1HW.device
    down = _smoother(IMAGE_SIGMA, side, device) @ _resize(image_N1HW.shape[-1], side, device)
    return _both_axes(down, image_N1HW)


@dataclass(frozen=True)
class _Level:
    """What stays the same at one resolution: the images, the gradient, the smoothings.

    Attributes:
        first: (P, 1, S, S). second: (P, 3, S, S), the image and its two second differences.
        gradient: (P, 2, S, S) of the first image. inner: (S, S), 0 on the border, else 1.
        window, smooth: (S, S) Gaussian smoothings. base: (2, S, S), the pixels' positions.
    """

    first: Tensor
    second: Tensor
    gradient: Tensor
    inner: Tensor
    window: Tensor
    smooth: Tensor
    base: Tensor


def _level(first_P1SS: Tensor, second_P1SS: Tensor) -> _Level:
    side, device = first_P1SS.shape[-1], first_P1SS.device
    window, smooth = (_smoother(sigma, side, device) for sigma in (WINDOW_SIGMA, SMOOTH_SIGMA))
    gradient = torch.cat(torch.gradient(first_P1SS, dim=(3, 2)), dim=1)
    inner = F.pad(first_P1SS.new_ones(side - 2, side - 2), (1, 1, 1, 1))
    wide = F.pad(second_P1SS, (1, 1, 1, 1), mode="replicate")
    second_x = wide[:, :, 1:-1, 2:] + wide[:, :, 1:-1, :-2] - 2 * second_P1SS
    second_y = wide[:, :, 2:, 1:-1] + wide[:, :, :-2, 1:-1] - 2 * second_P1SS
    middle = torch.arange(side, device=device, dtype=torch.float32)
    base = torch.stack([middle.expand(side, side), middle[:, None].expand(side, side)])
    second = torch.cat([second_P1SS, second_x, second_y], dim=1)
    return _Level(first_P1SS, second, gradient, inner, window, smooth, base)


def _refine(level: _Level, flow_P2SS: Tensor, steps: int) -> Tensor:
    """Return the flow after some steps with the votes that the flow so far allows.

    Sums are made in place: on a CPU each pass over these images costs as much as a smoothing.
    """
    # One pixel is left out on each side: level images are biased along their borders.
    votes = _is_inside(level.base + flow_P2SS) * level.inner
    moments = flow_P2SS.new_empty(len(flow_P2SS), 6, *level.inner.shape)
    voters = moments[:, 3:]
    torch.mul(level.gradient, votes, out=voters[:, :2])
    voters[:, 2:] = votes
    torch.mul(voters[:, :1], voters[:, :2], out=moments[:, :2])
    torch.mul(voters[:, 1], voters[:, 1], out=moments[:, 2])
    xx, xy, yy, sum_x, sum_y, share = _both_axes(level.window, moments).unbind(dim=1)
    share.add_(1e-6)
    mean_x, mean_y = sum_x / share, sum_y / share
    xx.sub_(mean_x * sum_x)
    xy.sub_(mean_x * sum_y)
    yy.sub_(mean_y * sum_y)
    half = (xx - yy).mul_(0.5)
    weakest = (xx + yy).mul_(0.5).sub_(xy.square().add_(half.square_()).sqrt_())
    trust = (weakest / (weakest + 2 * PULL)).clamp_(min=1e-4)[:, None]
    per_trust = _both_axes(level.smooth, trust).reciprocal_()
    xx.add_(PULL)
    yy.add_(PULL)
    determinant = (xx * yy).sub_(xy * xy)
    for product in (xx, xy, yy):
        product.div_(determinant)
    for _ in range(steps):
        error = _warp(level.second, level.base + flow_P2SS).neg_().add_(level.first)
        ex, ey, mean = _both_axes(level.window, voters * error).unbind(dim=1)
        ex.sub_(mean_x * mean)
        ey.sub_(mean_y * mean)
        step = torch.empty_like(flow_P2SS)
        torch.mul(yy, ex, out=step[:, 0]).sub_(xy * ey)
        torch.mul(xx, ey, out=step[:, 1]).sub_(xy * ex)
        flow_P2SS = step.clamp_(-LONGEST_STEP, LONGEST_STEP).add_(flow_P2SS).mul_(trust)
        flow_P2SS = _both_axes(level.smooth, flow_P2SS).mul_(per_trust)
    return flow_P2SS


def _stand_still(level: _Level, flow_P2SS: Tensor) -> Tensor:
    """Return the flow, shortened where no motion explains the second image better.

    Smoothing carries the motion of small things into a background that stands still.
    """
    target = level.base + flow_P2SS
    still = (level.first - level.second[:, :1]).square()
    moved = (level.first - _warp(level.second, target)).square()
    near = _smoother(STILL_SIGMA, flow_P2SS.shape[-1], flow_P2SS.device)
    errors = _both_axes(near, torch.cat([still, moved], dim=1)) + STILL_NOISE
    part = (errors[:, :1] / errors[:, 1:]).clamp(max=1).square()
    return torch.where(_is_inside(target), flow_P2SS * part, flow_P2SS)


def _is_inside(target_P2SS: Tensor) -> Tensor:
    """Return bool (P, 1, S, S): half a pixel or more within the outermost pixels' middles."""
    side = target_P2SS.shape[-1]
    return (target_P2SS - (side - 1) / 2).abs_().amax(dim=1, keepdim=True) <= side / 2 - 1


def _warp(second_P3SS: Tensor, target_P2SS: Tensor) -> Tensor:
    """Return the second image at the target positions, (P, 1, S, S).

    Linear interpolation errs by t (1 - t) / 2 times the second derivative: that is taken away.
    """
    side = second_P3SS.shape[-1]
    grid = (target_P2SS + 0.5).mul_(2 / side).sub_(1)
    sampled = F.grid_sample(
        second_P3SS, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )
    part = target_P2SS - target_P2SS.floor()
    bend = part.mul_(1 - part).mul_(sampled[:, 1:]).mul_(0.5)
    return (sampled[:, :1] - bend[:, :1]).sub_(bend[:, 1:])


def _smoother(sigma: float, side: int, device: torch.device) -> Tensor:
    """Gaussian smoothing as a matrix (side, side)."""
    return blur_matrix(torch.tensor([sigma], device=device), side)[0]


def _resize(length: int, out: int, device: torch.device) -> Tensor:
    """Antialiased resampling as a matrix (out, length)."""
    whole = torch.tensor([float(length)], device=device)
    return resize_matrix(torch.zeros_like(whole), whole, length, out)[0]


def _resized(flow_P2SS: Tensor, side: int) -> Tensor:
    """Return the flow at another resolution, in its pixels."""
    before = flow_P2SS.shape[-1]
    return _both_axes(_resize(before, side, flow_P2SS.device), flow_P2SS) * (side / before)


def _both_axes(matrix_OS: Tensor, x_PCSS: Tensor) -> Tensor:
    return matrix_OS @ (x_PCSS @ matrix_OS.T)
