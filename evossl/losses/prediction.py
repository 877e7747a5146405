"""Losses for predicting future or masked content, as features or as pixels.

Shapes: N position (of all clips and time steps), B clip, C channel, T time, H height, W width,
P pixel of a mask block. Masks have one value per block.
"""

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from evossl.losses.precision import full_precision

VARIANCE_FLOOR = 1e-6  # the pixels of a uniform block have no variance


@full_precision
def dpc_loss(prediction_NC: Tensor, target_NC: Tensor) -> Tensor:
    """Return the cross entropy, in nats, of identifying each prediction's own target.

    -log exp(p_i . z_i) / sum_j exp(p_i . z_j), averaged over i. The negatives are targets of other
    videos, of the same video at other positions, and of the same position at other times. Vectors
    are not normalised, and both sides receive gradient.

    Han, Xie, Zisserman, Video Representation Learning by Dense Predictive Coding, ICCV Workshops
    2019, section 3.2.

    Args:
        prediction_NC: p.
        target_NC: z, in the same order.
    """
    positive_N = torch.arange(len(target_NC), device=target_NC.device)
    return F.cross_entropy(prediction_NC @ target_NC.T, positive_N)


@full_precision
def masked_pixel_loss(prediction_BCTHW: Tensor, target_BCTHW: Tensor, mask_BTHW: Tensor) -> Tensor:
    """Return the mean squared error over masked blocks; each block of the target is normalised.

    The target's mean is 0 and its variance 1 within each channel of each block, so that brightness
    and contrast need not be predicted.

    Tong, Song, Wang, Wang, VideoMAE: Masked Autoencoders are Data-Efficient Learners for
    Self-Supervised Video Pre-Training, NeurIPS 2022, section 3.1; normalised as in He, Chen, Xie,
    Li, Dollar, Girshick, Masked Autoencoders Are Scalable Vision Learners, CVPR 2022.

    Args:
        prediction_BCTHW: prediction of the normalised target.
        target_BCTHW: pixels.
        mask_BTHW: bool, True where masked. H and W are multiples of the number of blocks; the last
            block in time may be shorter than the others.
    """
    predicted, target = (_split_blocks(x, mask_BTHW) for x in (prediction_BCTHW, target_BCTHW))
    variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
    error = predicted - (target - mean) / (variance + VARIANCE_FLOOR).sqrt()
    return _weighted_mean(error.square().mean(dim=(-2, -1)), mask_BTHW.to(error.dtype))


@full_precision
def masked_feature_loss(
    prediction_BCTHW: Tensor, target_BCTHW: Tensor, weight_BTHW: Tensor
) -> Tensor:
    """Return the mean absolute error over masked positions; no gradient reaches the target.

    The target's channels are normalised at each position to mean 0 and variance 1.

    Bardes et al., Revisiting Feature Prediction for Learning Visual Representations from Video,
    TMLR 2024, equation 1.

    Args:
        prediction_BCTHW: prediction of the normalised target.
        target_BCTHW: a feature map of the momentum encoder.
        weight_BTHW: masked fraction of each position, in [0, 1] (`masked_fraction`).
    """
    target_BTHWC = target_BCTHW.detach().movedim(1, -1)
    normalised_BTHWC = F.layer_norm(target_BTHWC, target_BTHWC.shape[-1:])
    error_BTHWC = prediction_BCTHW.movedim(1, -1) - normalised_BTHWC
    return _weighted_mean(error_BTHWC.abs().mean(dim=-1), weight_BTHW)


def masked_fraction(mask_BTHW: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return (B, *size), float32: the masked fraction of each position of a feature map.

    Args:
        mask_BTHW: bool, one value per block; blocks may be finer or coarser than the map.
        size: (T, H, W) of the map.
    """
    return F.adaptive_avg_pool3d(mask_BTHW.float(), size)


def _split_blocks(x_BCTHW: Tensor, mask_BTHW: Tensor) -> Tensor:
    """(B, T, H, W, C, P): the pixels of each mask block; the last frame pads a short last block."""
    _, times, rows, columns = mask_BTHW.shape
    batch, channels, frames, height, width = x_BCTHW.shape
    length = ceil(frames / times)
    padded = F.pad(x_BCTHW, (0, 0, 0, 0, 0, times * length - frames), mode="replicate")
    shape = (batch, channels, times, length, rows, height // rows, columns, width // columns)
    return padded.reshape(shape).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(5)


def _weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean, or 0 if all weights are 0."""
    return (x * weight).sum() / weight.sum().clamp(min=torch.finfo(x.dtype).eps)
