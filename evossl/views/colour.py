"""Colour jitter, grayscale and noise, batched, with parameters for each sample or each frame.

Each operation is that of `torchvision.transforms.v2.functional` on images in [0, 1].

Shapes: B clip, T frame, C channel, H height, W width; parameters are (B, T) or (B, 1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evossl.views.step_rng import StepRNG

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision has it
# Any hue and nearly any saturation: milder jitter of colour left encoders that rank by colour
# (measured: Spearman 0.97 with strong, 0.30 with mild). Light as in BYOL (Grill et al., NeurIPS
# 2020): with SimCLR's 0.8 for both, 4 of the 10 clips that we looked at went nearly black.
BRIGHTNESS = CONTRAST = 0.4
SATURATION = 0.8
HUE = 0.5
JITTER_PROBABILITY = 0.8
GRAY_PROBABILITY = 0.2
NOISE_PROBABILITY = 0.5
NOISE_SIGMA = 0.05  # of the range [0, 1]: at most; the noise of an indoor camera
TINY = 1e-30  # under the distance of any two levels of light, over what a CPU computes slowly
NOISE_SHIFT = 1009  # numbers between the noise of one sample and the next: prime, no image's width


@dataclass(frozen=True)
class ColourPlan:
    """Factors and shares of a jitter, each (B, T) or (B, 1); hue in turns; gray is bool."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor


def plan_colour(
    draws: StepRNG, draw: int, batch: int, frames: int | None, *, gray: bool
) -> ColourPlan:
    """Return the jitter of each sample or each of `frames` frames, with grayscale if `gray`."""
    shape = (batch, 1 if frames is None else frames)
    purpose = "colour" if frames is None else "colour of frames"
    u = draws.uniform(draw, purpose, 4, *shape, low=-1.0, high=1.0)
    u = u * (draws.uniform(draw, f"{purpose} at all", *shape) < JITTER_PROBABILITY)
    amount = (BRIGHTNESS, CONTRAST, SATURATION)
    brightness, contrast, saturation = (1 + a * v for a, v in zip(amount, u[:3], strict=True))
    gray_B1 = draws.uniform(draw, "gray", batch, 1) < (GRAY_PROBABILITY if gray else 0.0)
    return ColourPlan(brightness, contrast, saturation, HUE * u[3], gray_B1)


def jitter(x_BTCHW: Tensor, plan: ColourPlan) -> Tensor:
    """Return RGB in [0, 1] after brightness, contrast, saturation, hue and grayscale."""
    x = adjust_brightness(x_BTCHW, plan.brightness)
    x = adjust_contrast(x, plan.contrast)
    x = adjust_saturation(x, plan.saturation)
    x = adjust_hue(x, plan.hue)
    return torch.lerp(x, luma(x).expand_as(x), _wide(plan.gray).float())


def jitter_luma(x_BT1HW: Tensor, plan: ColourPlan) -> Tensor:
    """Return gray in [0, 1] after what colour jitter does to it: brightness and contrast."""
    return adjust_contrast(adjust_brightness(x_BT1HW, plan.brightness), plan.contrast)


def luma(x_BTCHW: Tensor) -> Tensor:
    """Return (B, T, 1, H, W) of RGB; one channel is its own luma."""
    if x_BTCHW.shape[2] == 1:
        return x_BTCHW
    red, green, blue = x_BTCHW.unbind(dim=2)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(2)


def adjust_brightness(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x times `factor`, in [0, 1]."""
    return (x_BTCHW * _wide(factor)).clamp_(0, 1)


def adjust_contrast(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x away from the mean luma of its frame by `factor`, in [0, 1]."""
    mean = luma(x_BTCHW).mean(dim=(2, 3, 4), keepdim=True)
    wide = _wide(factor)
    return (x_BTCHW * wide).add_(mean * (1 - wide)).clamp_(0, 1)


def adjust_saturation(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x away from its luma by `factor`, in [0, 1]."""
    wide = _wide(factor)
    return (x_BTCHW * wide).add_(luma(x_BTCHW) * (1 - wide)).clamp_(0, 1)


def adjust_hue(x_BTCHW: Tensor, turns: Tensor) -> Tensor:
    """Return x with its HSV hue moved by `turns` (1 is once around).

    A channel is the least one plus chroma times a trapezoid of the hue in [0, 6). Cases are told
    apart by factors of 0 and 1: a comparison takes a CPU four times as long as a product.
    """
    red, green, blue = x_BTCHW.unbind(dim=2)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    inverse = chroma.clamp(min=TINY).reciprocal_()
    where_green = (red - blue).mul_(-1).mul_(inverse).add_(2)
    where_blue = (red - green).mul_(inverse).add_(4)
    hue = torch.lerp(where_green, where_blue, _is_less(green, value))
    hue = torch.lerp((green - blue).mul_(inverse), hue, _is_less(red, value))
    hue.add_(6 * _wide(turns).squeeze(2))
    hue.sub_((hue / 6).floor_(), alpha=6)
    out = torch.empty_like(x_BTCHW)
    torch.addcmul(least, chroma, (hue - 3).abs_().sub_(1).clamp_(0, 1), out=out[:, :, 0])
    torch.addcmul(least, chroma, (hue - 2).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, :, 1])
    torch.addcmul(least, chroma, (hue - 4).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, :, 2])
    return out


def _is_less(channel: Tensor, value: Tensor) -> Tensor:
    """Return 1.0 where a channel is less than the largest of its pixel, else 0.0."""
    return (value - channel).mul_(1 / TINY).clamp_(max=1)


def add_noise(x_BTCHW: Tensor, draws: StepRNG, draw: int) -> Tensor:
    """Return x plus Gaussian noise of each sample's own strength, in [0, 1].

    The samples see one long stretch of noise at different places: B times cheaper to draw, and no
    two samples have the same noise at the same pixel.
    """
    batch, count = len(x_BTCHW), x_BTCHW[0].numel()
    sigma_B = draws.uniform(draw, "noise sigma", batch, high=NOISE_SIGMA)
    sigma_B = sigma_B * draws.bernoulli(draw, "noise", NOISE_PROBABILITY, batch)
    long = draws.normal(draw, "noise", count + (batch - 1) * NOISE_SHIFT)
    noise = long.unfold(0, count, NOISE_SHIFT).reshape(x_BTCHW.shape)
    return torch.addcmul(x_BTCHW, noise, sigma_B.view(-1, 1, 1, 1, 1)).clamp_(0, 1)


def _wide(parameter: Tensor) -> Tensor:
    """(B, T) -> (B, T, 1, 1, 1)."""
    return parameter[:, :, None, None, None]
