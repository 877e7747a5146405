import math
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import Tensor

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("nnclr", Place((Stream.RGB,)))
OPTIONS = {"queue_size": 9, "temperature": 0.3}


def neighbours(case: hand.Case, x_BD: Tensor, video_id_B: Tensor) -> Tensor:
    """Return the row of another video with the largest cosine, or the embedding itself."""
    rows = case.task.queue.row_FD
    whose, found = case.task.queue.video_id_F.tolist(), []
    for x, video in zip(x_BD, video_id_B.tolist(), strict=True):
        others = [row for row, own in zip(rows, whose, strict=True) if own != video]
        cosines = [naive_views.cosine(*naive.rows(torch.stack([x, row]))) for row in others]
        found.append(others[cosines.index(max(cosines))] if others else x)
    return torch.stack(found)


def expected_loss(case: hand.Case, batch: TaskBatch) -> float:
    """Return the paper's L(NN(z1), p2) / 2 + L(NN(z2), p1) / 2."""
    projected = [case.task.projector(batch[name].embedding_BD) for name in ("0", "1")]
    predicted = [case.task.predictor(x_BD) for x_BD in projected]
    videos = batch.video_id_B
    return fmean(
        naive_views.info_nce(
            neighbours(case, projected[i], videos), predicted[1 - i], videos, videos, 0.3
        )
        for i in (0, 1)
    )


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_loss_equals_the_papers_pseudocode(stream: Stream, edge: str, steps: int) -> None:
    case, batch = checks.build_edge_case(Term("nnclr", Place((stream,))), edge, steps, **OPTIONS)
    assert math.isclose(case.task.loss(batch).item(), expected_loss(case, batch), rel_tol=1e-5)


def test_gradient_reaches_predictions_not_neighbours() -> None:
    """If a clip is its own neighbour, all gradient passes through the predictor."""
    case = hand.build(RGB, **OPTIONS)
    batch = hand.make_batch(case.views)
    case.task.predictor.register_forward_hook(lambda module, args, output: output.detach())
    assert not case.task.loss(batch).requires_grad


def test_queue_receives_the_first_views_projections() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = hand.make_batch(case.views)
    case.task.after_step(batch)
    expected = case.task.projector(batch["0"].embedding_BD)
    torch.testing.assert_close(case.task.queue.row_FD, expected)
    assert torch.equal(case.task.queue.video_id_F, batch.video_id_B)


def test_neighbours_are_of_other_videos() -> None:
    """The queue contains the clip itself, the nearest row, which must not be selected."""
    queue = hand.build(RGB, **OPTIONS).task.queue
    row_BD = torch.eye(len(queue.row_KD[0]))[:3]
    queue.enqueue(row_BD, torch.tensor([0, 1, 2]))
    near_BD = row_BD + 0.1 * row_BD.roll(-1, dims=0)
    found_BD = queue.nearest_neighbours(near_BD, torch.tensor([0, 1, 2]))
    assert torch.equal(found_BD, row_BD.roll(-1, dims=0))
    assert torch.equal(queue.nearest_neighbours(near_BD, torch.tensor([7, 8, 9])), row_BD)


def test_checkpoint_restores_the_queue(tmp_path: Path) -> None:
    checks.assert_checkpoint_restores_task(RGB, tmp_path, **OPTIONS)


def test_views_are_two_clips_of_one_video() -> None:
    case = hand.build(RGB)
    checks.assert_clips_differ_in_time(case, ["0", "1"])
    assert case.views == hand.build(Term("simclr", Place((Stream.RGB,)))).views


def test_default_temperature_is_the_papers() -> None:
    assert hand.build(RGB).task.temperature == 0.1


def test_queue_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        hand.build(RGB, queue_size=0)
