"""Indicators: label-free scores that are recorded beside the fitness.

docs/fitness.md says which direction of each is better and when it is known to fail.

Shapes: N clip, D feature, J eigenvalue.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RANK_EPSILON = 1e-7  # of RankMe and LiDAR
LIDAR_RIDGE = 1e-4  # added to the diagonal of the within-clip covariance


def spectrum(x_ND: Tensor) -> Tensor:
    """Return the min(N, D) largest eigenvalues of x^T x, float64, descending."""
    x_ND = x_ND.double()
    gram = x_ND.T @ x_ND if x_ND.shape[1] <= len(x_ND) else x_ND @ x_ND.T
    value_J: Tensor = torch.linalg.eigvalsh(gram)
    return value_J.flip(0).clamp_(min=0)


def effective_rank(value_J: Tensor) -> float:
    """Return exp(-sum p ln p), where p = value / sum + epsilon."""
    p_J = value_J / value_J.sum() + RANK_EPSILON
    return float((-(p_J * p_J.log()).sum()).exp())


def rankme(x_ND: Tensor) -> float:
    """Return RankMe: the effective rank of the singular values of the uncentred features.

    Garrido et al., ICML 2023.
    """
    return effective_rank(spectrum(x_ND).sqrt())


def lidar(first_ND: Tensor, second_ND: Tensor) -> float:
    """Return LiDAR with two views per clip. Thilak et al., ICLR 2024.

    It is the effective rank of the eigenvalues of W^-1/2 B W^-1/2, where B is the covariance of
    the clips' mean features and W the covariance within clips plus 1e-4 I. It is NaN if W is still
    singular in float64, as for features of the order of 1e6.
    """
    first_ND, second_ND = first_ND.double(), second_ND.double()
    num_clips, width = first_ND.shape
    mean_ND = (first_ND + second_ND) / 2
    within_ND = (first_ND - second_ND) / 2
    within_DD = within_ND.T @ within_ND / num_clips + LIDAR_RIDGE * torch.eye(width).double()
    between_ND = (mean_ND - mean_ND.mean(dim=0)) / num_clips**0.5
    lower_DD, failed = torch.linalg.cholesky_ex(within_DD)
    if failed:
        return math.nan
    whitened_DN = torch.linalg.solve_triangular(lower_DD, between_ND.T, upper=False)
    return effective_rank(spectrum(whitened_DN))


def alpha_req(x_ND: Tensor) -> float:
    """Return alpha, where the covariance's eigenvalues follow lambda_j ~ j^-alpha.

    Fitted by least squares in log-log over the eigenvalues above 1e-9 of the largest; NaN if there
    are fewer than 2 of them. Agrawal et al., NeurIPS 2022.
    """
    value_J = spectrum(x_ND.double() - x_ND.double().mean(dim=0))
    value_J = value_J[value_J > 1e-9 * value_J[0]]
    log_rank_J = torch.arange(1, len(value_J) + 1).double().log()
    log_rank_J -= log_rank_J.mean()
    slope = (log_rank_J * value_J.log()).sum() / log_rank_J.square().sum()
    return -float(slope)


def alignment(first_ND: Tensor, second_ND: Tensor) -> float:
    """Return the mean ||f(v1) - f(v2)||^2 of L2-normalised features (Wang, Isola, ICML 2020)."""
    difference_ND = F.normalize(first_ND, dim=1) - F.normalize(second_ND, dim=1)
    return float(difference_ND.double().square().sum(dim=1).mean())


def uniformity(x_ND: Tensor) -> float:
    """Return ln of the mean exp(-2 ||f(x) - f(y)||^2) over pairs of different clips.

    The features are L2-normalised. Wang, Isola, ICML 2020, with t = 2.
    """
    square = torch.pdist(F.normalize(x_ND, dim=1)).double().square_()
    return float((-2 * square).logsumexp(dim=0) - torch.tensor(float(len(square))).log())
