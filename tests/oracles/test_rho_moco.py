"""The options of MoCo that make it rho-MoCo, and an asymmetric loss of more than two clips."""

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

RGB = Term("moco", Place((Stream.RGB,)))
OPTIONS = {"symmetric": True, "hidden_layers": 2, "queue_size": 15, "temperature": 0.3}
each_rho = pytest.mark.parametrize("rho", [1, 2, 3, 4])


def expected_loss(case: hand.Case, batch: TaskBatch, pairs: list[tuple[str, str]]) -> float:
    """The mean over (query, key) pairs, with negatives from the batch and the queue."""
    task, costs = case.task, []
    for query, key in pairs:
        query_BD = task.projector(batch[query].embedding_BD)
        key_BD = task.momentum_projector(batch[f"momentum {key}"].embedding_BD)
        key_MD = torch.cat([key_BD, task.queue.row_FD])
        videos = torch.cat([batch.video_id_B, task.queue.video_id_F])
        costs.append(naive_views.info_nce(query_BD, key_MD, batch.video_id_B, videos, 0.3))
    return fmean(costs)


@each_rho
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("steps", [0, 1])
def test_symmetric_loss_is_the_mean_over_ordered_pairs(rho: int, edge: str, steps: int) -> None:
    case, batch = checks.build_edge_case(RGB, edge, steps, rho=rho, **OPTIONS)
    expected = expected_loss(case, batch, list(permutations(case.task.queries, 2)))
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


def test_asymmetric_loss_has_one_query_and_other_clips_as_keys() -> None:
    options = OPTIONS | {"symmetric": False}
    case, batch = checks.build_edge_case(RGB, "random", steps=1, rho=3, **options)
    expected = expected_loss(case, batch, [("0", "1"), ("0", "2")])
    assert list(case.views) == ["0", "momentum 1", "momentum 2"]
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@each_rho
def test_queue_receives_the_keys_of_all_clips(rho: int) -> None:
    case = hand.build(RGB, rho=rho, **OPTIONS)
    batch = hand.make_batch(case.views, num=3)
    case.task.after_step(batch)
    task, names = case.task, list(case.task.keys)
    keys = [task.momentum_projector(batch[f"momentum {name}"].embedding_BD) for name in names]
    torch.testing.assert_close(task.queue.row_FD, torch.cat(keys))
    assert torch.equal(task.queue.video_id_F, batch.video_id_B.repeat(len(names)))


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_clips_of_a_video_differ_in_time(rho: int) -> None:
    case = hand.build(RGB, rho=rho, **OPTIONS)
    assert list(case.task.queries) == [str(draw) for draw in range(rho)]
    checks.assert_clips_differ_in_time(case, list(case.task.queries))
    checks.assert_momentum_views_match_student(case)


def test_rho_of_1_gives_two_views_of_one_clip() -> None:
    case = hand.build(RGB, rho=1, **OPTIONS)
    checks.assert_views_share_time(case, ["0", "1"])
    checks.assert_momentum_views_match_student(case)


def test_checkpoint_restores_queue_and_momentum_projector(tmp_path: Path) -> None:
    checks.assert_checkpoint_restores_task(RGB, tmp_path, **OPTIONS)


@pytest.mark.parametrize("rho", [0, 5])
def test_rho_out_of_range_is_refused(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
