"""Contrastive losses: embeddings of one clip or video together, of different ones apart.

Shapes: B clip, N query, M key, V view, D embedding.
"""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.distance import distances, unit
from evossl.losses.precision import full_precision


@full_precision
def info_nce(
    query_ND: Tensor, key_MD: Tensor, video_N: Tensor, video_M: Tensor, temperature: float
) -> Tensor:
    """Cross entropy, in nats, of finding each query's positive among the keys of other videos.

    -log exp(s(q, p) / t) / (exp(s(q, p) / t) + sum_n exp(s(q, n) / t)), s the cosine, n the keys of
    other videos than the query's; averaged over the queries.

    Van den Oord, Li, Vinyals, Representation Learning with Contrastive Predictive Coding, 2018,
    equation 4; He et al., Momentum Contrast, CVPR 2020, equation 1.

    Args:
        query_ND: they need not be of unit length.
        key_MD: the first N are the queries' positives, in their order; M >= N.
        video_N: int64, the video (or clip) of each query.
        video_M: of each key.
        temperature: t, positive.
    """
    logit_NM = unit(query_ND) @ unit(key_MD).T / temperature
    positive_N = torch.arange(len(query_ND), device=logit_NM.device)
    left_out_NM = video_N[:, None] == video_M
    left_out_NM[positive_N, positive_N] = False
    return F.cross_entropy(logit_NM.masked_fill(left_out_NM, float("-inf")), positive_N)


def nt_xent(x_BD: Tensor, y_BD: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy over the 2B views of a batch, in nats.

    -log exp(s(i, j) / t) / sum_{k != i} exp(s(i, k) / t), s the cosine, j the other view of i's
    clip, averaged over all 2B anchors i.

    Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual
    Representations, ICML 2020, equation 1.

    Args:
        x_BD: one view's projections, B >= 2; they need not be of unit length.
        y_BD: the other view's, in the same order.
        temperature: t, positive.
    """
    return nt_xent_of_views(torch.stack([x_BD, y_BD]), temperature)


def nt_xent_of_views(view_VBD: Tensor, temperature: float) -> Tensor:
    """NT-Xent averaged over all ordered pairs of views; negatives are all views of other clips.

    Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
    Representation Learning, CVPR 2021: other positives do not stand in a pair's denominator.

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
def max_margin(x_BD: Tensor, y_BD: Tensor, margin: float) -> Tensor:
    """Pull the pairs of one clip together, push those of different clips a margin apart.

    mean_i |x_i - y_i| + mean_{i != j} max(0, margin - |x_i - y_j|), with Euclidean distances.

    Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006,
    equation 4, with distances in place of their squares and every other clip as a negative.

    Args:
        x_BD: embeddings in one stream, B >= 2.
        y_BD: embeddings of the same clips in the other stream, in the same order.
        margin: distance at which a different clip no longer costs anything.
    """
    d_BB = distances(x_BD, y_BD)
    other = ~torch.eye(len(x_BD), dtype=torch.bool, device=x_BD.device)
    return d_BB.diagonal().mean() + F.relu(margin - d_BB)[other].mean()
