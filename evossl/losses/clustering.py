"""Clustering losses: one view predicts the cluster assignment of another view of the same clip.

Shapes: G view that gives targets, V view that predicts, B clip, N sample, K cluster.
"""

import torch
from torch import Tensor

from evossl.losses.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(score_NK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments (N, K), without gradient, that use all clusters about equally.

    Sinkhorn-Knopp: each iteration normalises the columns of exp(score / epsilon) and then its rows.
    It is computed on logarithms, which cannot overflow.

    Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
    Contrasting Cluster Assignments, NeurIPS 2020, equation 3 and section 3.1.

    Args:
        score_NK: score of each sample with each prototype.
        epsilon: entropy regularisation, positive; smaller values give harder assignments.
        iterations: at least 1 (3 in the paper).
    """
    log_NK = score_NK / epsilon
    for _ in range(iterations):
        log_NK = (log_NK - log_NK.logsumexp(dim=0)).log_softmax(dim=1)
    return log_NK.exp()


@torch.no_grad()
@full_precision
def centre_and_sharpen(score_GBK: Tensor, centre_K: Tensor, temperature: float) -> Tensor:
    """Return softmax((score - centre) / temperature), without gradient: DINO's teacher targets.

    Centring prevents one cluster from taking all clips; a low temperature (sharpening) prevents
    uniform targets.

    Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
    Vision Transformers, ICCV 2021, section 3.1.

    Args:
        score_GBK: the teacher's scores; any leading shape.
        centre_K: running mean of such scores.
        temperature: positive.
    """
    return ((score_GBK - centre_K) / temperature).softmax(dim=-1)


@full_precision
def multi_view_cross_entropy(logit_VBK: Tensor, target_GBK: Tensor, pair_GV: Tensor) -> Tensor:
    """Return the mean cross entropy, in nats, between predictions and other views' targets.

    -sum_k target[g, b, k] log softmax(logit[v, b])[k], averaged over the clips and the selected
    pairs (g, v): SwAV's equation 2 and DINO's equation 3.

    Args:
        logit_VBK: predictions; gradient flows.
        target_GBK: probabilities for the same clips in the same order.
        pair_GV: bool, True where view v predicts the target of view g; at least one pair.
    """
    log_p_VBK = logit_VBK.log_softmax(dim=-1)
    loss_GV = -torch.einsum("gbk,vbk->gv", target_GBK, log_p_VBK) / logit_VBK.shape[1]
    return loss_GV[pair_GV].mean()


def different_view_pairs(num_targets: int, num_views: int) -> Tensor:
    """Return pair_GV: all pairs of a target and another view; view i gave target i."""
    return ~torch.eye(num_targets, num_views, dtype=torch.bool)
