"""Triplet loss: an anchor nearer to its positive than to a chosen negative, by a margin.

Shapes: B clip, D embedding.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.losses.distance import squared_distances
from evossl.losses.precision import full_precision

Choice = Callable[[Tensor, Tensor], Tensor]
"""From the squared distances to the positives (B) and to the negatives (B, B, infinite where there
is none) to those of the chosen negatives (B)."""


def hardest(positive_B: Tensor, negative_BB: Tensor) -> Tensor:
    """The nearest negative of each anchor."""
    return negative_BB.amin(dim=1)


def semi_hard(positive_B: Tensor, negative_BB: Tensor) -> Tensor:
    """The nearest of the negatives that are further than the positive; without one, the furthest.

    Schroff, Kalenichenko, Philbin, FaceNet, CVPR 2015, equation 4.
    """
    further_BB = negative_BB.masked_fill(negative_BB <= positive_B[:, None], float("inf"))
    furthest_B = negative_BB.masked_fill(negative_BB.isinf(), -1.0).amax(dim=1)
    nearest_B = further_BB.amin(dim=1)
    return torch.where(nearest_B.isinf(), furthest_B, nearest_B)


@full_precision
def triplet(x_BD: Tensor, y_BD: Tensor, margin: float, choose: Choice) -> Tensor:
    """Mean of max(0, |a - p|^2 - |a - n|^2 + margin) over the 2B anchors of two views.

    An anchor's positive is the other view of its clip, its negatives are the other views of all
    other clips, of which `choose` takes one.

    Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and
    Clustering, CVPR 2015, equation 3.

    Args:
        x_BD: one view's embeddings, B >= 2.
        y_BD: the other view's, in the same order.
        margin: in squared distance.
        choose: `hardest` or `semi_hard`.
    """
    squared_BB = squared_distances(x_BD, y_BD)
    itself = torch.eye(len(x_BD), dtype=torch.bool, device=x_BD.device)
    positive_B = squared_BB.diagonal()
    chosen_B2 = [
        choose(positive_B, anchors_BB.masked_fill(itself, float("inf")))
        for anchors_BB in (squared_BB, squared_BB.T)
    ]
    return F.relu(positive_B - torch.stack(chosen_B2) + margin).mean()
