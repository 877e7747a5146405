"""Clustering losses: a view predicts which clusters another view of its clip was given.

Shapes: G view that gives targets, V view that predicts, B clip, N sample, K cluster.
"""

import torch
from torch import Tensor

from evossl.losses.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(score_NK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments (N, K), without gradient, that fill all clusters about equally.

    Rows of exp(score / epsilon) sum to 1 after each iteration; before it, columns are made equal
    (Sinkhorn-Knopp, here on logarithms, which cannot overflow).

    Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
    Contrasting Cluster Assignments, NeurIPS 2020, equation 3 and section 3.1.

    Args:
        score_NK: of each sample with each prototype.
        epsilon: smoothness, positive; the smaller, the nearer to one cluster a sample.
        iterations: at least 1 (3 in the paper).
    """
    log_NK = score_NK / epsilon
    for _ in range(iterations):
        log_NK = (log_NK - log_NK.logsumexp(dim=0)).log_softmax(dim=1)
    return log_NK.exp()


@torch.no_grad()
@full_precision
def centred(score_GBK: Tensor, centre_K: Tensor, temperature: float) -> Tensor:
    """Return softmax((score - centre) / temperature), without gradient: a teacher's targets.

    The centre keeps one cluster from taking all, a low temperature keeps all from being equal.

    Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
    Vision Transformers, ICCV 2021, section 3.1.

    Args:
        score_GBK: the teacher's, of any leading shape.
        centre_K: running mean of such scores.
        temperature: positive.
    """
    return ((score_GBK - centre_K) / temperature).softmax(dim=-1)


@full_precision
def cross_view(logit_VBK: Tensor, target_GBK: Tensor, matched_GV: Tensor) -> Tensor:
    """Mean cross entropy, in nats, of what one view predicts with what another was given.

    -sum_k target[g, b, k] log softmax(logit[v, b])[k], averaged over the clips and over the pairs
    (g, v) that are matched: SwAV's equation 2 and DINO's equation 3.

    Args:
        logit_VBK: predictions; gradient flows.
        target_GBK: probabilities of the same clips in the same order.
        matched_GV: bool, which view predicts which; at least one pair.
    """
    log_p_VBK = logit_VBK.log_softmax(dim=-1)
    loss_GV = -torch.einsum("gbk,vbk->gv", target_GBK, log_p_VBK) / logit_VBK.shape[1]
    return loss_GV[matched_GV].mean()


def all_others(num_targets: int, num_views: int) -> Tensor:
    """Return matched_GV: every view predicts every target but its own; the targets' views first."""
    return ~torch.eye(num_targets, num_views, dtype=torch.bool)
