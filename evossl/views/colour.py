"""Colour jitter, grayscale and noise, batched, with parameters for each sample or each frame.

Each operation equals its counterpart in `torchvision.transforms.v2.functional` on images in [0, 1].
Torchvision's take one parameter per call; ours take one per sample or frame and process the whole
batch on its device (docs/performance.md).

Shapes: B clip, T frame, C channel, H height, W width; parameters are (B, T) or (B, 1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evossl.views.step_rng import StepRNG

LUMA_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R BT.601, with torchvision's digits
# Any hue and nearly any saturation: milder colour jitter left encoders that rank by colour
# (measured: Spearman 0.97 with strong jitter, 0.30 with mild). Brightness and contrast as in BYOL
# (Grill et al., NeurIPS 2020): with SimCLR's 0.8 for both, 4 of the 10 clips that we looked at went
# nearly black.
BRIGHTNESS = CONTRAST = 0.4
SATURATION = 0.8
HUE = 0.5
JITTER_PROBABILITY = 0.8
GRAY_PROBABILITY = 0.2
NOISE_PROBABILITY = 0.5
MAX_NOISE_SIGMA = 0.05  # in units of the range [0, 1]; the noise of an indoor camera
# Below the difference of any two pixel values, but above the denormal numbers, with which a CPU is
# slow.
MIN_CHROMA = 1e-30


@dataclass(frozen=True)
class ColourPlan:
    """Parameters of a colour jitter, each (B, T) or (B, 1).

    Attributes:
        brightness, contrast, saturation: factors around 1.
        hue: change in turns of the colour wheel.
        gray: bool, convert to grayscale.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor


def plan_colour(
    rng: StepRNG, draw: int, batch: int, frames: int | None, *, gray: bool, strength: float = 1.0
) -> ColourPlan:
    """Return a random jitter of each sample, or of each frame if `frames` is given.

    `gray` allows grayscale, which is then drawn with `GRAY_PROBABILITY` for each sample.
    `strength` multiplies this probability and the ranges of the other operations.
    """
    shape = (batch, 1 if frames is None else frames)
    purpose = "colour" if frames is None else "colour of frames"
    u = rng.uniform(draw, purpose, 4, *shape, low=-1.0, high=1.0)
    u = strength * u * (rng.uniform(draw, f"{purpose} at all", *shape) < JITTER_PROBABILITY)
    amount = (BRIGHTNESS, CONTRAST, SATURATION)
    brightness, contrast, saturation = (1 + a * v for a, v in zip(amount, u[:3], strict=True))
    gray_probability = GRAY_PROBABILITY * strength if gray else 0.0
    gray_B1 = rng.uniform(draw, "gray", batch, 1) < gray_probability
    return ColourPlan(brightness, contrast, saturation, HUE * u[3], gray_B1)


def jitter(x_BTCHW: Tensor, plan: ColourPlan) -> Tensor:
    """Return RGB in [0, 1] after brightness, contrast, saturation, hue and grayscale."""
    x = adjust_brightness(x_BTCHW, plan.brightness)
    x = adjust_contrast(x, plan.contrast)
    x = adjust_saturation(x, plan.saturation)
    x = adjust_hue(x, plan.hue)
    return torch.lerp(x, luma(x).expand_as(x), _per_pixel(plan.gray).float())


def jitter_luma(x_BT1HW: Tensor, plan: ColourPlan) -> Tensor:
    """Return gray frames in [0, 1] after the brightness and contrast of a colour jitter."""
    return adjust_contrast(adjust_brightness(x_BT1HW, plan.brightness), plan.contrast)


def luma(x_BTCHW: Tensor) -> Tensor:
    """Return the luma (B, T, 1, H, W) of RGB; a single channel is returned unchanged."""
    if x_BTCHW.shape[2] == 1:
        return x_BTCHW
    red, green, blue = x_BTCHW.unbind(dim=2)
    weights = LUMA_WEIGHTS
    return (
        (weights[0] * red).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2]).unsqueeze(2)
    )


def adjust_brightness(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x times `factor`, clamped to [0, 1]."""
    return (x_BTCHW * _per_pixel(factor)).clamp_(0, 1)


def adjust_contrast(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x with its distance to the mean luma of its frame times `factor`, in [0, 1]."""
    mean = luma(x_BTCHW).mean(dim=(2, 3, 4), keepdim=True)
    factor = _per_pixel(factor)
    return (x_BTCHW * factor).add_(mean * (1 - factor)).clamp_(0, 1)


def adjust_saturation(x_BTCHW: Tensor, factor: Tensor) -> Tensor:
    """Return x with its distance to its own luma times `factor`, in [0, 1]."""
    factor = _per_pixel(factor)
    return (x_BTCHW * factor).add_(luma(x_BTCHW) * (1 - factor)).clamp_(0, 1)


def adjust_hue(x_BTCHW: Tensor, turns: Tensor) -> Tensor:
    """Return x with its HSV hue moved by `turns`; 1 is a full turn of the colour wheel.

    A channel is the smallest of the three plus chroma times a trapezoid of the hue in [0, 6). Cases
    are selected by factors of 0 and 1, because a comparison takes a CPU four times as long as a
    product.
    """
    red, green, blue = x_BTCHW.unbind(dim=2)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    inverse = chroma.clamp(min=MIN_CHROMA).reciprocal_()
    hue_if_green = (red - blue).mul_(-1).mul_(inverse).add_(2)
    hue_if_blue = (red - green).mul_(inverse).add_(4)
    hue = torch.lerp(hue_if_green, hue_if_blue, _is_below_max(green, value))
    hue = torch.lerp((green - blue).mul_(inverse), hue, _is_below_max(red, value))
    hue.add_(6 * _per_pixel(turns).squeeze(2))
    hue.sub_((hue / 6).floor_(), alpha=6)
    out = torch.empty_like(x_BTCHW)
    torch.addcmul(least, chroma, (hue - 3).abs_().sub_(1).clamp_(0, 1), out=out[:, :, 0])
    torch.addcmul(least, chroma, (hue - 2).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, :, 1])
    torch.addcmul(least, chroma, (hue - 4).abs_().neg_().add_(2).clamp_(0, 1), out=out[:, :, 2])
    return out


def _is_below_max(channel: Tensor, value: Tensor) -> Tensor:
    """Return 1.0 where a channel is below the largest channel of its pixel, otherwise 0.0."""
    return (value - channel).mul_(1 / MIN_CHROMA).clamp_(max=1)


def add_noise(x_BTCHW: Tensor, rng: StepRNG, draw: int, strength: float = 1.0) -> Tensor:
    """Return x plus Gaussian noise whose sigma is drawn for each sample, in [0, 1].

    `strength` multiplies the sigma.
    """
    batch, count = len(x_BTCHW), x_BTCHW[0].numel()
    sigma_B = rng.uniform(draw, "noise sigma", batch, high=MAX_NOISE_SIGMA * strength)
    sigma_B = sigma_B * rng.bernoulli(draw, "noise", NOISE_PROBABILITY, batch)
    noise = rng.overlapping_noise(draw, "noise", batch, count).reshape(x_BTCHW.shape)
    return torch.addcmul(x_BTCHW, noise, sigma_B.view(-1, 1, 1, 1, 1)).clamp_(0, 1)


def _per_pixel(parameter: Tensor) -> Tensor:
    """Return (B, T) as (B, T, 1, 1, 1), to be broadcast over channels and pixels."""
    return parameter[:, :, None, None, None]
