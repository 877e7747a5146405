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
from tests.helpers.loss_edge_cases import EDGES, outputs, seen_at

RGB = Term("rho_swav", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_the_loss_and_its_gradient_are_lightlys_over_all_pairs_of_clips(
    rho: int, edge: str
) -> None:
    case = hand.build(RGB, rho=rho, prototypes=12, epsilon=0.1)
    case.task.double()
    seen = seen_at(edge, case.views)
    swap = case.task.swap

    def scores(x_BD: Tensor) -> Tensor:
        return F.cosine_similarity(swap.project(x_BD)[:, None], swap.prototypes.weight, dim=-1)

    ours = case.task.loss(seen)
    theirs = SwaVLoss(0.1, sinkhorn_epsilon=0.1)(outputs(scores, seen, case.views), []).squeeze()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    leaves = [view.embedding_BD for view in seen.views.values()]
    for mine, wanted in zip(*(torch.autograd.grad(x, leaves) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-12)


def test_the_gradient_does_not_pass_through_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    checks.assert_no_gradient_passes_through_codes(RGB, monkeypatch, rho=3, prototypes=12)


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
def test_the_views_are_rho_clips_of_a_video(rho: int) -> None:
    """What these are: tests/views/test_view_recipes.py."""
    assert hand.build(RGB, rho=rho).views == strong_clips(Stream.RGB, rho)


def test_two_clips_and_no_crop_are_swav() -> None:
    rho, swav = hand.build(RGB), hand.build(Term("swav", Place((Stream.RGB,))), local=0)
    swav.task.load_state_dict(rho.task.state_dict())
    seen = hand.show(rho.views)
    assert torch.equal(rho.task.loss(seen), swav.task.loss(seen))


def test_a_queue_of_three_clips_a_video_is_kept_by_a_checkpoint() -> None:
    case, other = (hand.build(RGB, seed, rho=3, queue=6) for seed in (0, 1))
    seen = hand.show(case.views, seed=2)
    without = case.task.loss(seen)
    case.task.after_step(hand.show(case.views))
    other.task.load_state_dict(case.task.state_dict())
    assert not torch.equal(case.task.loss(seen), without)
    assert torch.equal(other.task.loss(seen), case.task.loss(seen))


def test_prototypes_are_normalised_before_and_held_after() -> None:
    task = hand.build(RGB).task
    with torch.no_grad():
        task.swap.prototypes.weight.mul_(2)
    task.before_forward(0.0)
    weight = task.swap.prototypes.weight
    torch.testing.assert_close(weight.detach().norm(dim=1), torch.ones(len(weight)))
    for progress, held in ((0.0, True), (0.5, False)):
        task.loss(hand.show(task.views())).backward()
        task.after_backward(progress)
        assert (weight.grad is None) == held
