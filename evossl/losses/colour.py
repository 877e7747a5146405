"""Colours as classes: the quantised ab plane of CIE Lab, and the loss of predicting them.

Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, sections 2.1 and 2.2.

Shapes: B clip, X pixel (frame, row and column), Q colour bin, K nearest bin; A is the pair (a, b).
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from evossl.losses.precision import full_precision

BIN_SIZE = 10.0  # side of a bin in the ab plane
NUM_NEAREST_BINS = 5  # bins that share a colour
SOFT_ENCODING_SD = 5.0  # standard deviation of the Gaussian that weights these bins
UNIFORM_FRACTION = 0.5  # the paper's lambda: frequencies are mixed with the uniform distribution
GAMUT_LEVELS = 52  # levels per sRGB channel that are tried to find the bins inside the gamut

RGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE_POINT = (0.9505, 1.0, 1.089)  # D65: the XYZ of white


@dataclass(frozen=True)
class SoftEncoding:
    """The soft-encoded colour of each pixel (Z in the paper); only its non-zero bins are stored.

    Attributes:
        index_BKX: int64, the bins nearest to the colour, the nearest first.
        weight_BKX: the weight of each of these bins; they sum to 1 over K.
    """

    index_BKX: Tensor
    weight_BKX: Tensor


def to_ab(rgb_X3: Tensor) -> Tensor:
    """Return (X, 2), the a and b of CIE Lab, of sRGB in [0, 1]."""
    linear = torch.where(rgb_X3 <= 0.04045, rgb_X3 / 12.92, ((rgb_X3 + 0.055) / 1.055).pow(2.4))
    xyz_X3 = linear @ rgb_X3.new_tensor(RGB_TO_XYZ).T / rgb_X3.new_tensor(WHITE_POINT)
    root = torch.where(xyz_X3 > 216 / 24389, xyz_X3.pow(1 / 3), (841 / 108) * xyz_X3 + 4 / 29)
    x, y, z = root.unbind(dim=-1)
    return torch.stack([500 * (x - y), 200 * (y - z)], dim=-1)


@cache
def ab_bins() -> Tensor:
    """Return (Q, 2): the centres of the bins of the ab plane that contain an sRGB colour."""
    level = torch.linspace(0, 1, GAMUT_LEVELS, dtype=torch.float64)
    ab_XA = to_ab(torch.cartesian_prod(level, level, level))
    bins: Tensor = torch.unique((ab_XA / BIN_SIZE).round(), dim=0)
    return bins.float() * BIN_SIZE


def soft_encode(rgb_B3X: Tensor) -> SoftEncoding:
    """Return each pixel's soft encoding: a Gaussian of its distances to the nearest bins."""
    ab_BXA = to_ab(rgb_B3X.transpose(1, 2))
    distance_BXQ = torch.cdist(ab_BXA, ab_bins().to(ab_BXA).expand(len(ab_BXA), -1, -1))
    near = distance_BXQ.topk(NUM_NEAREST_BINS, dim=2, largest=False)
    weight_BXK = torch.softmax(-near.values.square() / (2 * SOFT_ENCODING_SD**2), dim=2)
    return SoftEncoding(near.indices.transpose(1, 2), weight_BXK.transpose(1, 2))


def bin_frequencies(encoding: SoftEncoding) -> Tensor:
    """Return frequency_Q: the fraction of all pixels in each bin; sums to 1."""
    num_pixels = encoding.weight_BKX.sum()
    empty = encoding.weight_BKX.new_zeros(len(ab_bins()))
    counts = empty.index_add(0, encoding.index_BKX.flatten(), encoding.weight_BKX.flatten())
    return counts / num_pixels


def rebalancing_weights(frequency_Q: Tensor) -> Tensor:
    """Return weight_Q, the class-rebalancing weights; their mean over pixels is 1.

    w = 1 / ((1 - lambda) p + lambda / Q), scaled so that sum_q p_q w_q = 1 (equation 4).
    """
    uniform = UNIFORM_FRACTION / len(frequency_Q)
    weight_Q = 1 / ((1 - UNIFORM_FRACTION) * frequency_Q + uniform)
    return weight_Q / (frequency_Q * weight_Q).sum()


@full_precision
def colorization_loss(logit_BQX: Tensor, encoding: SoftEncoding, weight_Q: Tensor) -> Tensor:
    """Return the mean over pixels of -v sum_q Z_q log softmax(logit)_q.

    v is the weight of the bin nearest to the pixel's colour. Equations 2 and 3, with a mean over
    pixels instead of the sum.

    Args:
        logit_BQX: predicted logits of the bins.
        encoding: Z.
        weight_Q: weights of the bins (`rebalancing_weights`).
    """
    log_p_BKX = logit_BQX.log_softmax(dim=1).gather(1, encoding.index_BKX)
    cross_entropy_BX = -(encoding.weight_BKX * log_p_BKX).sum(dim=1)
    return (weight_Q[encoding.index_BKX[:, 0]] * cross_entropy_BX).mean()
