"""The options of SwAV that make it rho-SwAV."""

import pytest
import torch
from lightly.loss import SwaVLoss
from torch import Tensor
from torch.nn import functional as F

from evossl.task import Place, Term
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES, head_outputs, make_edge_batch

RGB = Term("swav", Place((Stream.RGB,)))
OPTIONS = {"local_crops": 0, "prototypes": 12, "epsilon": 0.1}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_loss_and_gradient_equal_lightlys(rho: int, edge: str) -> None:
    case = hand.build(RGB, rho=rho, **OPTIONS)
    case.task.double()
    batch = make_edge_batch(edge, case.views)
    task = case.task

    def scores(x_BD: Tensor) -> Tensor:
        projected_B1P = task.projector(x_BD)[:, None]
        return F.cosine_similarity(projected_B1P, task.prototypes.weight, dim=-1)

    ours = case.task.loss(batch)
    outputs = head_outputs(scores, batch, case.views)
    theirs = SwaVLoss(0.1, sinkhorn_epsilon=0.1)(outputs, []).squeeze()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    leaves = [view.embedding_BD for view in batch.views.values()]
    for mine, wanted in zip(*(torch.autograd.grad(x, leaves) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-12)


def test_no_gradient_passes_through_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    checks.assert_codes_have_no_gradient(RGB, monkeypatch, rho=3, **OPTIONS)


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_views_are_rho_clips_of_a_video(rho: int) -> None:
    """tests/views/test_view_recipes.py tests these views."""
    assert hand.build(RGB, rho=rho, **OPTIONS).views == strong_clips(Stream.RGB, rho)


def test_checkpoint_restores_a_queue_of_three_clips() -> None:
    case, other = (hand.build(RGB, seed, rho=3, queue_size=6, **OPTIONS) for seed in (0, 1))
    batch = hand.make_batch(case.views, seed=2)
    without_queue = case.task.loss(batch)
    case.task.after_step(hand.make_batch(case.views))
    other.task.load_state_dict(case.task.state_dict())
    assert not torch.equal(case.task.loss(batch), without_queue)
    assert torch.equal(other.task.loss(batch), case.task.loss(batch))
