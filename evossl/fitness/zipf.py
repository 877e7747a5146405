"""The distance of cluster sizes from Zipf's law (ELo: Piergiovanni et al., CVPR 2020).

Shapes: N clip, D feature, K cluster.
"""

import torch
from torch import Tensor

from evossl.fitness.clusters import squared_distances


def zipf_pmf(num_clusters: int, exponent: float = 1.0) -> Tensor:
    """Return Zipf's law q_K, float64: q_i = i^-s / H_{K,s}, the share of the i-th largest class.

    Exponent 0 gives the uniform distribution.
    """
    weight_K = torch.arange(1, num_clusters + 1, dtype=torch.float64) ** -exponent
    return weight_K / weight_K.sum()


def hard_shares(label_N: Tensor, num_clusters: int) -> Tensor:
    """Return the share of the clips in each cluster: p_K, float64, sorted descending."""
    size_K = torch.bincount(label_N, minlength=num_clusters).double()
    return (size_K / size_K.sum()).sort(descending=True).values


def soft_shares(x_ND: Tensor, centroid_KD: Tensor, sigma: float) -> Tensor:
    """Return the mean over clips of softmax_k(-||x - c_k||^2 / (2 sigma^2)): p_K, sorted.

    This is the paper's soft assignment, which has 2 sigma^2 = 1. float64, descending.
    """
    logit_NK = squared_distances(x_ND, centroid_KD).div_(-2 * sigma**2)
    return logit_NK.softmax(dim=1).double().mean(dim=0).sort(descending=True).values


def zipf_divergence(share_K: Tensor, exponent: float = 1.0) -> float:
    """Return KL(p || q) in nats, of shares p sorted descending from Zipf's law q; 0 ln 0 is 0."""
    log_q_K = zipf_pmf(len(share_K), exponent).log()
    return float((torch.special.xlogy(share_K, share_K) - share_K * log_q_K).sum())


def effective_clusters(share_K: Tensor) -> float:
    """Return exp(entropy of the shares): the number of equal clusters with that entropy."""
    return float((-torch.special.xlogy(share_K, share_K).sum()).exp())
