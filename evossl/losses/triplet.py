"""Triplet margin loss, with a choice of the negative that each anchor is compared with.

Shapes: B clip, D embedding.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.distance import pairwise_squared_distances
from evossl.losses.precision import full_precision

NegativeMiner = Callable[[Tensor, Tensor], Tensor]
"""From the squared distances to the positives (B) and to the negatives (B, B; infinite where there
is none), returns those of the selected negatives (B)."""


def hardest_negative(positive_B: Tensor, negative_BB: Tensor) -> Tensor:
    """Return the squared distance to the nearest negative of each anchor."""
    return negative_BB.amin(dim=1)


def semi_hard_negative(positive_B: Tensor, negative_BB: Tensor) -> Tensor:
    """Return the distance to the nearest negative farther than the positive, or to the farthest.

    Schroff, Kalenichenko, Philbin, FaceNet, CVPR 2015, equation 4.
    """
    farther_BB = negative_BB.masked_fill(negative_BB <= positive_B[:, None], float("inf"))
    farthest_B = negative_BB.masked_fill(negative_BB.isinf(), -1.0).amax(dim=1)
    nearest_B = farther_BB.amin(dim=1)
    return torch.where(nearest_B.isinf(), farthest_B, nearest_B)


@full_precision
def triplet_margin_loss(
    x_BD: Tensor, y_BD: Tensor, margin: float, select_negative: NegativeMiner
) -> Tensor:
    """Return the mean of max(0, |a - p|^2 - |a - n|^2 + margin) over the 2B anchors of two views.

    An anchor's positive is the other view of its clip. `select_negative` selects its negative from
    the other views of all other clips.

    Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and
    Clustering, CVPR 2015, equation 3.

    Args:
        x_BD: one view's embeddings, B >= 2.
        y_BD: the other view's, in the same order.
        margin: in squared distance.
        select_negative: `hardest_negative` or `semi_hard_negative`.
    """
    squared_BB = pairwise_squared_distances(x_BD, y_BD)
    same_clip_BB = torch.eye(len(x_BD), dtype=torch.bool, device=x_BD.device)
    positive_B = squared_BB.diagonal()
    negative_2B = [
        select_negative(positive_B, distance_BB.masked_fill(same_clip_BB, float("inf")))
        for distance_BB in (squared_BB, squared_BB.T)
    ]
    return F.relu(positive_B - torch.stack(negative_2B) + margin).mean()
