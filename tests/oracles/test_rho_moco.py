import math
from itertools import permutations
from pathlib import Path
from statistics import fmean

import pytest
import torch

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("rho_moco", Place((Stream.RGB,)))
OPTIONS = {"queue": 15, "temperature": 0.3}
each_rho = pytest.mark.parametrize("rho", [1, 2, 3, 4])


def expected_loss(case: hand.Case, seen: TaskBatch) -> float:
    """Every ordered pair of a video's clips, against the batch's and the queue's other videos."""
    heads, names = case.task.contrast, list(case.task.clips)
    rows, whose = heads.queue.row_FD, heads.queue.video_id_F
    costs = []
    for asks, answers in permutations(names, 2):
        query_BD = heads.project(seen[asks].embedding_BD)
        key_MD = torch.cat([heads.target(seen[f"slow {answers}"].embedding_BD), rows])
        videos = torch.cat([seen.video_id_B, whose])
        costs.append(naive_views.info_nce(query_BD, key_MD, seen.video_id_B, videos, 0.3))
    return fmean(costs)


@each_rho
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("steps", [0, 1])
def test_the_loss_is_the_loops_over_all_ordered_pairs(rho: int, edge: str, steps: int) -> None:
    case, seen = checks.at_edge(RGB, edge, steps, rho=rho, **OPTIONS)
    assert math.isclose(case.task.loss(seen).item(), expected_loss(case, seen), rel_tol=1e-5)


@each_rho
def test_after_a_step_the_queue_holds_the_keys_of_all_clips(rho: int) -> None:
    case = hand.build(RGB, rho=rho, queue=100)
    seen = hand.show(case.views, num=3)
    case.task.after_step(seen)
    heads, names = case.task.contrast, list(case.task.clips)
    keys = [heads.target(seen[f"slow {name}"].embedding_BD) for name in names]
    torch.testing.assert_close(heads.queue.row_FD, torch.cat(keys))
    assert torch.equal(heads.queue.video_id_F, seen.video_id_B.repeat(len(names)))


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


def test_a_checkpoint_keeps_the_queue_and_the_slow_head(tmp_path: Path) -> None:
    checks.assert_a_checkpoint_keeps_it(RGB, tmp_path, **OPTIONS)


@pytest.mark.parametrize("rho", [0, 5])
def test_another_number_of_clips_is_refused_when_the_task_is_made(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
