import math
from pathlib import Path

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("rho_byol", Place((Stream.RGB,)))


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("edge", EDGES)
def test_the_loss_is_the_loops_over_all_ordered_pairs(rho: int, edge: str) -> None:
    case, seen = checks.at_edge(RGB, edge, rho=rho)
    heads = case.task.bootstrap
    names = list(case.task.clips)
    predicted = [heads.predict(heads.project(seen[name].embedding_BD)) for name in names]
    target = [heads.target(seen[f"slow {name}"].embedding_BD) for name in names]
    expected = 2 + 2 * naive_views.negative_cosine(torch.stack(predicted), torch.stack(target))
    assert math.isclose(case.task.loss(seen).item(), expected, rel_tol=1e-5, abs_tol=1e-9)


def test_at_rho_2_it_is_byol() -> None:
    ours, byol = hand.build(RGB, rho=2), hand.build(Term("byol", Place((Stream.RGB,))))
    assert ours.views == byol.views
    seen = hand.show(byol.views)
    assert torch.equal(ours.task.loss(seen), byol.task.loss(seen))


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_rho_clips_of_a_video_are_of_different_times(rho: int) -> None:
    case = hand.build(RGB, rho=rho)
    assert list(case.task.clips) == [str(draw) for draw in range(rho)]
    checks.assert_clips_are_of_different_times(case, list(case.task.clips))
    checks.assert_slow_views_are_the_students(case)


def test_at_rho_1_two_views_are_of_one_clip() -> None:
    case = hand.build(RGB, rho=1)
    checks.assert_views_are_of_one_time(case, ["0", "1"])
    checks.assert_slow_views_are_the_students(case)


def test_a_checkpoint_keeps_the_slow_projector(tmp_path: Path) -> None:
    checks.assert_a_checkpoint_keeps_it(RGB, tmp_path)


@pytest.mark.parametrize("rho", [0, 5])
def test_another_number_of_clips_is_refused_when_the_task_is_made(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
