"""The permutation head: what it computes, and that it can learn.

Shapes: B clip, N piece, D embedding.
"""

import math
from dataclasses import replace
from itertools import permutations

import torch
from torch import Generator, Tensor

from evossl.models.heads.permutation_head import PermutationHead
from evossl.views.spec import Applied, Cells
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_pretext_losses as naive

FOUR = Cells(times=4)


def arranger(width: int = 4) -> PermutationHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PermutationHead(width, FOUR)


def ordered(num: int, seed: int = 0) -> tuple[Tensor, Applied]:
    """Return one-hot embeddings of each piece's cell, and the labels."""
    generator = Generator().manual_seed(seed)
    order_B = torch.randint(24, (num,), generator=generator)
    permutation_BN = torch.tensor(list(permutations(range(4))))[order_B]
    applied = replace(
        hand.make_applied(num, generator), order_B=order_B, permutation_BN=permutation_BN
    )
    return torch.eye(4)[permutation_BN], applied


def test_loss_is_the_cross_entropy_of_the_order() -> None:
    head = arranger()
    x, applied = ordered(6)
    expected = naive.cross_entropy(head(x), applied.order_B)
    assert math.isclose(head.loss(x, applied).item(), expected, rel_tol=1e-5)


def test_pieces_share_a_projection_and_are_concatenated() -> None:
    head = arranger()
    x, _ = ordered(6)
    by_hand = torch.cat([head.projector(x[:, piece]) for piece in range(4)], dim=1)
    torch.testing.assert_close(head(x), head.classifier(by_hand))


def test_head_learns_the_order_of_labelled_pieces() -> None:
    head = arranger()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for step in range(40):
        optimiser.zero_grad()
        head.loss(*ordered(64, seed=step)).backward()
        optimiser.step()
    x, applied = ordered(64, seed=1000)
    assert (head(x).argmax(dim=1) == applied.order_B).float().mean() > 0.95
