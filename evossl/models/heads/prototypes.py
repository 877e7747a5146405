"""Prototypes: the clusters of SwAV, the weight-normalised last layer of DINO.

Shapes: N sample, B clip, V view, D projection, K prototype.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from evossl.losses.distance import unit

FROZEN = 0.01  # of a training: both papers hold them for an epoch, of 100 or more


class Prototypes(nn.Module):
    """K directions; the score of a sample with each is their cosine.

    The gradient runs along the sphere: a direction's length changes no score. SwAV's is linear in
    a weight that is put back on the sphere, which differs by the length of a step alone.

    Args:
        width: D of the samples.
        count: K.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(unit(torch.randn(count, width)))

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return the cosines (N, K)."""
        return unit(x_ND) @ unit(self.weight).T

    @torch.no_grad()
    def normalise(self) -> None:
        """Put the directions back on the sphere: the longer, the smaller their steps would be."""
        self.weight.copy_(unit(self.weight))

    def hold(self, progress: float) -> None:
        """Forget the gradient at the start of a training; an optimiser leaves such a weight alone.

        Projections that still change with every step would drag the directions along.
        """
        if progress < FROZEN:
            self.weight.grad = None


def scores_by_view(head: Callable[[Tensor], Tensor], embeddings: Iterable[Tensor]) -> Tensor:
    """Return (V, B, K): what the head gives of each view; BatchNorm sees a view by itself.

    Args:
        head: takes (N, D) to (N, K).
        embeddings: (B, D), or (B, N, D) of N pieces, which go through together and are N views.
    """
    scores = []
    for x in embeddings:
        score_NK = head(x.flatten(0, -2))
        scores.append(score_NK.view(len(x), -1, score_NK.shape[1]).transpose(0, 1))
    return torch.cat(scores)
