"""Prototypes: the clusters of SwAV, and the weight-normalised last layer of DINO.

Shapes: N sample, B clip, V view, D projection, K prototype.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from evossl.losses.distance import l2_normalise

FROZEN_FRACTION = 0.01  # of the training; both papers freeze them for one epoch of 100 or more


class Prototypes(nn.Module):
    """K directions; the score of a sample with each is their cosine.

    The cosine does not depend on a direction's length, so gradients are tangential to the sphere.
    SwAV instead uses a linear layer whose weight is normalised each step, which differs only by the
    length of a step.

    Args:
        width: D.
        count: K.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(l2_normalise(torch.randn(count, width)))

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return the cosines (N, K)."""
        return l2_normalise(x_ND) @ l2_normalise(self.weight).T

    @torch.no_grad()
    def normalise_weight(self) -> None:
        """Scale the directions to unit length; longer ones would turn less in each step."""
        self.weight.copy_(l2_normalise(self.weight))

    def cancel_early_gradient(self, progress: float) -> None:
        """Delete the gradient during the first `FROZEN_FRACTION` of the training.

        Optimisers skip a weight without gradient. Early on, projections still change with every
        step and would drag the prototypes along.
        """
        if progress < FROZEN_FRACTION:
            self.weight.grad = None


def score_views(head: Callable[[Tensor], Tensor], embeddings: Iterable[Tensor]) -> Tensor:
    """Return the head's scores of all views, (V, B, K); BatchNorm sees one view at a time.

    Args:
        head: maps (N, D) to (N, K).
        embeddings: (B, D) for a view, or (B, N, D) for N pieces, which go through the head together
            and count as N views.
    """
    scores = []
    for x in embeddings:
        score_NK = head(x.flatten(0, -2))
        scores.append(score_NK.view(len(x), -1, score_NK.shape[1]).transpose(0, 1))
    return torch.cat(scores)
