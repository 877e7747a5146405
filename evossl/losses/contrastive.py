"""Contrastive losses: two embeddings of one clip together, of different clips apart.

Shapes: B clip, D embedding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.distance import distances, unit
from evossl.losses.precision import full_precision


@full_precision
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
    z_2BD = unit(torch.cat([x_BD, y_BD]))
    num_clips = len(x_BD)
    itself = torch.eye(2 * num_clips, dtype=torch.bool, device=z_2BD.device)
    logits = (z_2BD @ z_2BD.T / temperature).masked_fill(itself, float("-inf"))
    other_view = torch.arange(2 * num_clips, device=z_2BD.device).roll(num_clips)
    return F.cross_entropy(logits, other_view)


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
