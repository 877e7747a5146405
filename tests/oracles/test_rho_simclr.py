import math

import pytest
import torch
from lightly.loss import NTXentLoss

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("rho_simclr", Place((Stream.RGB,)))


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("edge", EDGES)
def test_the_loss_is_the_loops_over_all_ordered_pairs(rho: int, edge: str) -> None:
    case, seen = checks.at_edge(RGB, edge, rho=rho, temperature=0.3)
    projected = [case.task.project(seen[name].embedding_BD) for name in case.views]
    expected = naive_views.nt_xent_of_views(torch.stack(projected), 0.3)
    assert math.isclose(case.task.loss(seen).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("rho", [1, 2])
@pytest.mark.parametrize("stream", list(Stream))
def test_of_two_views_the_loss_and_its_gradient_are_lightlys(stream: Stream, rho: int) -> None:
    case, seen = checks.at_edge(Term("rho_simclr", Place((stream,))), "random", rho=rho)
    projected = [case.task.project(seen[name].embedding_BD) for name in ("0", "1")]
    leaves = (seen[name].embedding_BD for name in ("0", "1"))
    checks.assert_same(case.task.loss(seen), NTXentLoss(0.1)(*projected), *leaves)


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_rho_clips_of_a_video_are_of_different_times(rho: int) -> None:
    case = hand.build(RGB, rho=rho)
    assert list(case.views) == [str(draw) for draw in range(rho)]
    checks.assert_clips_are_of_different_times(case, list(case.views))


def test_at_rho_1_two_views_are_of_one_clip() -> None:
    checks.assert_views_are_of_one_time(hand.build(RGB, rho=1), ["0", "1"])


def test_at_rho_2_the_views_are_simclrs_and_made_once_for_both() -> None:
    simclr = hand.build(Term("simclr", Place((Stream.RGB,))))
    assert hand.build(RGB, rho=2).views == simclr.views


@pytest.mark.parametrize("rho", [0, 5])
def test_another_number_of_clips_is_refused_when_the_task_is_made(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
