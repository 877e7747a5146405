"""Contrastive losses: embeddings of one clip attract, those of different clips repel each other.

Shapes: B clip, N query, M key, V view, D embedding.
"""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.distance import l2_normalise, pairwise_distances
from evossl.losses.precision import full_precision


@full_precision
def info_nce(
    query_ND: Tensor, key_MD: Tensor, video_N: Tensor, video_M: Tensor, temperature: float
) -> Tensor:
    """Return the cross entropy, in nats, of identifying each query's positive key.

    -log exp(s(q, p) / t) / (exp(s(q, p) / t) + sum_n exp(s(q, n) / t)), averaged over the queries;
    s is the cosine. The negatives n are the keys of other videos than the query's.

    Van den Oord, Li, Vinyals, Representation Learning with Contrastive Predictive Coding, 2018,
    equation 4; He et al., Momentum Contrast, CVPR 2020, equation 1.

    Args:
        query_ND: queries; need not be normalised.
        key_MD: keys; the first N are the queries' positives, in their order; M >= N.
        video_N: int64, the video (or clip) of each query.
        video_M: the same of each key.
        temperature: t, positive.
    """
    logit_NM = l2_normalise(query_ND) @ l2_normalise(key_MD).T / temperature
    positive_N = torch.arange(len(query_ND), device=logit_NM.device)
    ignored_NM = video_N[:, None] == video_M
    ignored_NM[positive_N, positive_N] = False
    return F.cross_entropy(logit_NM.masked_fill(ignored_NM, float("-inf")), positive_N)


def nt_xent(x_BD: Tensor, y_BD: Tensor, temperature: float) -> Tensor:
    """Return SimCLR's normalised temperature-scaled cross entropy over the 2B views, in nats.

    -log exp(s(i, j) / t) / sum_{k != i} exp(s(i, k) / t), s the cosine, j the other view of i's
    clip, averaged over all 2B anchors i.

    Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual
    Representations, ICML 2020, equation 1.

    Args:
        x_BD: one view's projections, B >= 2; need not be normalised.
        y_BD: the other view's, in the same order.
        temperature: t, positive.
    """
    return multi_view_nt_xent(torch.stack([x_BD, y_BD]), temperature)


def multi_view_nt_xent(view_VBD: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent averaged over all ordered pairs of views; with two views it is `nt_xent`.

    The negatives are all views of other clips. A pair's denominator does not contain the clip's
    other positives: Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised
    Spatiotemporal Representation Learning, CVPR 2021.

    Args:
        view_VBD: projections, V >= 2, B >= 2.
        temperature: t, positive.
    """
    clip_B = torch.arange(view_VBD.shape[1], device=view_VBD.device)
    clip_M = clip_B.repeat(len(view_VBD))
    losses = []
    for v, w in permutations(range(len(view_VBD)), 2):
        key_MD = torch.cat([view_VBD[w], *view_VBD[:w], *view_VBD[w + 1 :]])
        losses.append(info_nce(view_VBD[v], key_MD, clip_B, clip_M, temperature))
    return torch.stack(losses).mean()


@full_precision
def max_margin_loss(x_BD: Tensor, y_BD: Tensor, margin: float) -> Tensor:
    """Return the mean distance of positive pairs plus the mean hinge loss of negative pairs.

    mean_i |x_i - y_i| + mean_{i != j} max(0, margin - |x_i - y_j|), with Euclidean distances.

    Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006,
    equation 4, with distances instead of their squares and every other clip as a negative.

    Args:
        x_BD: embeddings in one stream, B >= 2.
        y_BD: embeddings of the same clips in the other stream, in the same order.
        margin: distance from which on a negative pair has no loss.
    """
    distance_BB = pairwise_distances(x_BD, y_BD)
    negative_BB = ~torch.eye(len(x_BD), dtype=torch.bool, device=x_BD.device)
    return distance_BB.diagonal().mean() + F.relu(margin - distance_BB)[negative_BB].mean()
