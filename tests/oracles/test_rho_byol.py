"""The `rho` option of BYOL: rho-BYOL."""

import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("byol", Place((Stream.RGB,)))


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("edge", EDGES)
def test_loss_is_the_mean_over_all_ordered_pairs(rho: int, edge: str) -> None:
    case, batch = checks.build_edge_case(RGB, edge, rho=rho)
    task, names = case.task, list(case.task.student_views)
    prediction = [task.predictor(task.projector(batch[name].embedding_BD)) for name in names]
    target = [task.target_projector(batch[f"momentum {name}"].embedding_BD) for name in names]
    expected = 2 + 2 * naive_views.negative_cosine(torch.stack(prediction), torch.stack(target))
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5, abs_tol=1e-9)


@pytest.mark.parametrize("rho", [3, 4])
def test_clips_of_a_video_differ_in_time(rho: int) -> None:
    case = hand.build(RGB, rho=rho)
    assert list(case.task.student_views) == [str(draw) for draw in range(rho)]
    checks.assert_clips_differ_in_time(case, list(case.task.student_views))
    checks.assert_momentum_views_match_student(case)


def test_rho_of_1_gives_two_views_of_one_clip() -> None:
    case = hand.build(RGB, rho=1)
    checks.assert_views_share_time(case, ["0", "1"])
    checks.assert_momentum_views_match_student(case)


@pytest.mark.parametrize("rho", [0, 5])
def test_rho_out_of_range_is_refused(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
