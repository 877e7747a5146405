"""Optical flow between the frames of a view, batched on its device, without gradient.

Coarse-to-fine Lucas-Kanade in its inverse compositional form (Baker and Matthews, IJCV 2004): the
gradients and the 2 x 2 normal equations are those of the first image, so a step is one warp, two
products and two smoothings.

Shapes: P pair of frames, B clip, T frame, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

COARSEST = 12  # pixels of the smallest image's side, at least
STEPS = (5, 4, 3)  # warps from the coarsest level on; the last number stands for finer ones
WINDOW_SIGMA = 1.8  # pixels of the Gaussian neighbourhood
PULL = 2e-4  # variance of gradient below which a neighbourhood takes its prior flow
SMOOTH_SIGMA = 0.8  # pixels; the flow after each step
FLOW_SCALE = 2.0  # pixels of the view per step that become 1: typical motion at 12 frames a second


@torch.no_grad()
def clip_flow(gray_BT1HW: Tensor) -> Tensor:
    """Return flow (B, T, 2, H, W) of each frame to the next, (dx right, dy down) in pixels.

    The last field is repeated, so that there is one for each frame. Luma is in [0, 1].
    """
    b, t, _, height, width = gray_BT1HW.shape
    first = gray_BT1HW[:, :-1].reshape(-1, 1, height, width)
    second = gray_BT1HW[:, 1:].reshape(-1, 1, height, width)
    flow = pair_flow(first, second).view(b, t - 1, 2, height, width)
    return torch.cat([flow, flow[:, -1:]], dim=1)


@torch.no_grad()
def pair_flow(first_P1HW: Tensor, second_P1HW: Tensor) -> Tensor:
    """Return flow (P, 2, H, W) such that second(x + flow(x)) = first(x); (dx, dy) in pixels."""
    levels = [(first_P1HW, second_P1HW)]
    while min(levels[-1][0].shape[2:]) // 2 >= COARSEST:
        first, second = (_halve(image) for image in levels[-1])
        levels.append((first, second))
    flow = torch.zeros_like(levels[-1][0]).repeat(1, 2, 1, 1)
    for number, (first, second) in enumerate(reversed(levels)):
        if number:
            flow = 2 * F.interpolate(flow, first.shape[2:], mode="bilinear")
        flow = _refine(first, second, flow, STEPS[min(number, len(STEPS) - 1)])
    return flow


def _halve(image_P1HW: Tensor) -> Tensor:
    return F.interpolate(image_P1HW, scale_factor=0.5, mode="bilinear", antialias=True)


def _refine(first_P1HW: Tensor, second_P1HW: Tensor, flow_P2HW: Tensor, steps: int) -> Tensor:
    height, width = first_P1HW.shape[2:]
    device = first_P1HW.device
    window = [_smoother(side, WINDOW_SIGMA, device) for side in (height, width)]
    smooth = [_smoother(side, SMOOTH_SIGMA, device) for side in (height, width)]
    dy, dx = torch.gradient(first_P1HW[:, 0], dim=(1, 2))
    products = torch.stack([dx * dx, dx * dy, dy * dy], dim=1)
    xx, xy, yy = _apply(window, products).unbind(dim=1)
    xx, yy = xx + PULL, yy + PULL
    inverse = 1 / (xx * yy - xy * xy)
    gradient = torch.stack([dx, dy], dim=1)
    base = _grid(height, width, device)
    scale = torch.tensor([2 / width, 2 / height], device=device)
    for _ in range(steps):
        grid = base + flow_P2HW.permute(0, 2, 3, 1) * scale
        warped = F.grid_sample(second_P1HW, grid, padding_mode="border", align_corners=False)
        error = _apply(window, gradient * (first_P1HW - warped))
        ex, ey = error.unbind(dim=1)
        step = torch.stack([yy * ex - xy * ey, xx * ey - xy * ex], dim=1) * inverse[:, None]
        flow_P2HW = _apply(smooth, flow_P2HW + step.clamp_(-1, 1))
    return flow_P2HW


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Positions of the pixels as `grid_sample` counts them, (H, W, 2), x first."""
    y = (torch.arange(height, device=device) + 0.5) * 2 / height - 1
    x = (torch.arange(width, device=device) + 0.5) * 2 / width - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def _smoother(side: int, sigma: float, device: torch.device) -> Tensor:
    """Gaussian smoothing as a matrix (side, side) whose rows sum to 1."""
    pixel = torch.arange(side, device=device, dtype=torch.float32)
    weight = torch.exp(-(pixel[:, None] - pixel).square() / (2 * sigma**2))
    return weight / weight.sum(dim=1, keepdim=True)


def _apply(smoothers: list[Tensor], x_PCHW: Tensor) -> Tensor:
    down, across = smoothers
    return down @ (x_PCHW @ across.T)
