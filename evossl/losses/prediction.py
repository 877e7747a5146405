"""Prediction in feature space: of what comes next, and of what is hidden.

Shapes: N place (of all clips and steps), B clip, C channel, T time, H height, W width, P pixel of
a block; masks are in blocks.
"""

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from evossl.losses.precision import full_precision

VARIANCE_FLOOR = 1e-6  # of a block's pixels: a flat block has none


@full_precision
def dpc_loss(prediction_NC: Tensor, target_NC: Tensor) -> Tensor:
    """Cross entropy, in nats, of finding each prediction's own target among all targets.

    -log exp(p_i . z_i) / sum_j exp(p_i . z_j), averaged over i: the others are of other videos, of
    the same video at other places, and of the same place at other times. Neither is brought to
    unit length, and both learn.

    Han, Xie, Zisserman, Video Representation Learning by Dense Predictive Coding, ICCV Workshops
    2019, section 3.2.

    Args:
        prediction_NC: p.
        target_NC: z, in the same order.
    """
    own_N = torch.arange(len(target_NC), device=target_NC.device)
    return F.cross_entropy(prediction_NC @ target_NC.T, own_N)


@full_precision
def masked_pixels(prediction_BCTHW: Tensor, target_BCTHW: Tensor, mask_BTHW: Tensor) -> Tensor:
    """Mean squared error in the blanked blocks, of a target with mean 0 and variance 1 in each.

    In each channel of each block: brightness and contrast need not be guessed, what is there must.

    Tong, Song, Wang, Wang, VideoMAE: Masked Autoencoders are Data-Efficient Learners for
    Self-Supervised Video Pre-Training, NeurIPS 2022, section 3.1; normalised as in He, Chen, Xie,
    Li, Dollar, Girshick, Masked Autoencoders Are Scalable Vision Learners, CVPR 2022.

    Args:
        prediction_BCTHW: of the normalised target.
        target_BCTHW: pixels.
        mask_BTHW: bool, True where blanked; its blocks divide H and W, and of T the last may be
            shorter.
    """
    given, wanted = (_in_blocks(x, mask_BTHW) for x in (prediction_BCTHW, target_BCTHW))
    variance, mean = torch.var_mean(wanted, dim=-1, keepdim=True)
    error = given - (wanted - mean) / (variance + VARIANCE_FLOOR).sqrt()
    return _weighted_mean(error.square().mean(dim=(-2, -1)), mask_BTHW.to(error.dtype))


@full_precision
def masked_features(prediction_BCTHW: Tensor, target_BCTHW: Tensor, share_BTHW: Tensor) -> Tensor:
    """Mean absolute error where the student saw nothing, of a target that learns nothing.

    Over its channels, each place of the target has mean 0 and variance 1.

    Bardes et al., Revisiting Feature Prediction for Learning Visual Representations from Video,
    TMLR 2024, equation 1.

    Args:
        prediction_BCTHW: of the normalised target.
        target_BCTHW: a map of the momentum encoder.
        share_BTHW: how much of each place was hidden, in [0, 1]: its weight.
    """
    target_BTHWC = target_BCTHW.detach().movedim(1, -1)
    wanted_BTHWC = F.layer_norm(target_BTHWC, target_BTHWC.shape[-1:])
    error_BTHWC = prediction_BCTHW.movedim(1, -1) - wanted_BTHWC
    return _weighted_mean(error_BTHWC.abs().mean(dim=-1), share_BTHW)


def hidden_share(mask_BTHW: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return (B, *size), float32: the share of each place of a map that is blanked.

    Args:
        mask_BTHW: bool, in blocks, finer than the map or coarser.
        size: (T, H, W) of the map.
    """
    return F.adaptive_avg_pool3d(mask_BTHW.float(), size)


def _in_blocks(x_BCTHW: Tensor, mask_BTHW: Tensor) -> Tensor:
    """(B, T, H, W, C, P): the pixels of each block of the mask; a short last one is held."""
    _, times, rows, columns = mask_BTHW.shape
    batch, channels, frames, height, width = x_BCTHW.shape
    length = ceil(frames / times)
    held = F.pad(x_BCTHW, (0, 0, 0, 0, 0, times * length - frames), mode="replicate")
    high, wide = height // rows, width // columns
    parts = held.reshape(batch, channels, times, length, rows, high, columns, wide)
    return parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(5)


def _weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Zero where all weights are."""
    return (x * weight).sum() / weight.sum().clamp(min=torch.finfo(x.dtype).eps)
