"""Colours as classes: the ab plane of CIE Lab in squares, and the loss of naming them.

Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, sections 2.1 and 2.2.

Shapes: B clip, X pixel (time and place), Q colour class, K near class; A is the pair (a, b).
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from evossl.losses.precision import full_precision

SQUARE = 10.0  # side of a class in the ab plane
NEAREST = 5  # classes that share a colour
SPREAD = 5.0  # standard deviation of the Gaussian by which they share it
EVEN = 0.5  # share of the uniform distribution that rarity is mixed with: lambda
LEVELS = 52  # of each channel of sRGB, when classes that hold a colour are looked for

TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)  # D65: what TO_XYZ makes of white


@dataclass(frozen=True)
class NearColours:
    """The soft code of each pixel's colour, Z in the paper: only its classes that are not zero.

    Attributes:
        index_BKX: int64, the classes nearest to the colour, the nearest first.
        share_BKX: what of the pixel is theirs, of sum 1.
    """

    index_BKX: Tensor
    share_BKX: Tensor


def to_ab(rgb_X3: Tensor) -> Tensor:
    """Return (X, 2), a and b of CIE Lab, of sRGB in [0, 1]."""
    linear = torch.where(rgb_X3 <= 0.04045, rgb_X3 / 12.92, ((rgb_X3 + 0.055) / 1.055).pow(2.4))
    xyz_X3 = linear @ rgb_X3.new_tensor(TO_XYZ).T / rgb_X3.new_tensor(WHITE)
    root = torch.where(xyz_X3 > 216 / 24389, xyz_X3.pow(1 / 3), (841 / 108) * xyz_X3 + 4 / 29)
    x, y, z = root.unbind(dim=-1)
    return torch.stack([500 * (x - y), 200 * (y - z)], dim=-1)


@cache
def palette() -> Tensor:
    """Return (Q, 2): the middles of the squares of the ab plane that hold a colour of sRGB."""
    level = torch.linspace(0, 1, LEVELS, dtype=torch.float64)
    ab_XA = to_ab(torch.cartesian_prod(level, level, level))
    squares: Tensor = torch.unique((ab_XA / SQUARE).round(), dim=0)
    return squares.float() * SQUARE


def near_colours(rgb_B3X: Tensor) -> NearColours:
    """Return the soft code of each pixel: a Gaussian of its distance to the nearest classes."""
    ab_BXA = to_ab(rgb_B3X.transpose(1, 2))
    distance_BXQ = torch.cdist(ab_BXA, palette().to(ab_BXA).expand(len(ab_BXA), -1, -1))
    near = distance_BXQ.topk(NEAREST, dim=2, largest=False)
    share_BXK = torch.softmax(-near.values.square() / (2 * SPREAD**2), dim=2)
    return NearColours(near.indices.transpose(1, 2), share_BXK.transpose(1, 2))


def colour_shares(near: NearColours) -> Tensor:
    """Return share_Q, of sum 1: how much of all pixels each class has."""
    num_pixels = near.share_BKX.sum()
    empty = near.share_BKX.new_zeros(len(palette()))
    return empty.index_add(0, near.index_BKX.flatten(), near.share_BKX.flatten()) / num_pixels


def rarity(share_Q: Tensor) -> Tensor:
    """Return weight_Q: the inverse of a class's share, half of it evened out; mean 1 over pixels.

    w = 1 / ((1 - lambda) p + lambda / Q), scaled so that sum_q p_q w_q = 1 (equation 4).
    """
    weight_Q = 1 / ((1 - EVEN) * share_Q + EVEN / len(share_Q))
    return weight_Q / (share_Q * weight_Q).sum()


@full_precision
def colour_cross_entropy(logit_BQX: Tensor, near: NearColours, weight_Q: Tensor) -> Tensor:
    """Mean over pixels of -v sum_q Z_q log softmax(logit)_q, v the weight of the nearest class.

    Equations 2 and 3, with a mean over pixels in place of the sum.

    Args:
        logit_BQX: of each class.
        near: Z.
        weight_Q: of the classes (`rarity`).
    """
    log_share_BKX = logit_BQX.log_softmax(dim=1).gather(1, near.index_BKX)
    surprise_BX = -(near.share_BKX * log_share_BKX).sum(dim=1)
    return (weight_Q[near.index_BKX[:, 0]] * surprise_BX).mean()
