"""Losses that decorrelate the features of an embedding, and so need no negatives.

Shapes: B clip, D feature.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision

BARLOW_EPSILON = 1e-5  # of BatchNorm, which standardises the features in the paper's code
VICREG_EPSILON = 1e-4


@full_precision
def standardise_features(x_BD: Tensor) -> Tensor:
    """Return each feature with mean 0 and standard deviation 1 over the batch; constants are 0."""
    centred_BD = x_BD - x_BD.mean(dim=0)
    return centred_BD / (centred_BD.square().mean(dim=0) + BARLOW_EPSILON).sqrt()


@full_precision
def barlow_twins_loss(x_BD: Tensor, y_BD: Tensor, redundancy: float) -> Tensor:
    """Return sum_i (1 - C_ii)^2 + redundancy * sum_{i != j} C_ij^2.

    C is the cross-correlation matrix of the two views' features.

    Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction, ICML 2021, equation 1.

    Args:
        x_BD: one view's projections, B >= 2.
        y_BD: the other view's, in the same order.
        redundancy: the paper's lambda.
    """
    correlation_DD = standardise_features(x_BD).T @ standardise_features(y_BD) / len(x_BD)
    diagonal_D = correlation_DD.diagonal()
    return (1 - diagonal_D).square().sum() + redundancy * _off_diagonal_energy(correlation_DD)


@full_precision
def vicreg_loss(
    x_BD: Tensor, y_BD: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Return the weighted sum of VICReg's invariance, variance and covariance terms.

    invariance * mean (x - y)^2 + variance * (v(x) + v(y)) / 2 + covariance * (c(x) + c(y)), with
    v(z) = mean_d max(0, 1 - sd(z_d)) and c(z) = sum_{i != j} cov(z_i, z_j)^2 / D.

    Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning, ICLR 2022, equations 1 to 6; v is halved as in the paper's code.

    Args:
        x_BD: one view's projections, B >= 2.
        y_BD: the other view's, in the same order.
        invariance: weight of the distance between the views.
        variance: weight of the hinge on the standard deviations.
        covariance: weight of the off-diagonal covariances.
    """
    views = (x_BD, y_BD)
    spread = sum(F.relu(1 - (z.var(dim=0) + VICREG_EPSILON).sqrt()).mean() for z in views)
    shared = sum(_off_diagonal_energy(_covariance(z)) / z.shape[1] for z in views)
    distance = (x_BD - y_BD).square().mean()
    return invariance * distance + variance * spread / 2 + covariance * shared


def _covariance(x_BD: Tensor) -> Tensor:
    centred_BD = x_BD - x_BD.mean(dim=0)
    return centred_BD.T @ centred_BD / (len(x_BD) - 1)


def _off_diagonal_energy(x_DD: Tensor) -> Tensor:
    """The sum of the squared off-diagonal elements."""
    diagonal = torch.eye(len(x_DD), dtype=torch.bool, device=x_DD.device)
    return x_DD.masked_fill(diagonal, 0.0).square().sum()
