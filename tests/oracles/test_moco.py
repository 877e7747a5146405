import math
from pathlib import Path

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import STRONG, Role, View
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("moco", Place((Stream.RGB,)))
OPTIONS = {"queue_size": 9, "temperature": 0.3}


def project(case: hand.Case, batch: TaskBatch) -> tuple[Tensor, Tensor]:
    """Return the projected queries and keys."""
    task = case.task
    return task.projector(batch["0"].embedding_BD), task.momentum_projector(
        batch["momentum 1"].embedding_BD
    )


def fill(case: hand.Case, num: int, video: int = 100) -> Tensor:
    """Put `num` keys of other videos into the queue, and return its rows."""
    queue = case.task.queue
    queue.enqueue(
        torch.randn(num, 128, generator=torch.Generator().manual_seed(9)), video + torch.arange(num)
    )
    return queue.row_FD


def lightly_loss(query_BD: Tensor, key_BD: Tensor, row_ND: Tensor, temperature: float) -> Tensor:
    """Return lightly's loss per query, with the queue and other clips' keys as its bank."""
    losses = []
    for i in range(len(query_BD)):
        negatives = torch.cat([key_BD[:i], key_BD[i + 1 :], row_ND])
        loss = NTXentLoss(temperature, memory_bank_size=tuple(negatives.shape)).double()
        loss.memory_bank.bank.copy_(F.normalize(negatives, dim=1))
        losses.append(loss(query_BD[i : i + 1], key_BD[i : i + 1]))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("filled", [0, 5])
def test_loss_and_gradient_equal_lightly_loss(stream: Stream, edge: str, filled: int) -> None:
    case, batch = checks.build_edge_case(Term("moco", Place((stream,))), edge, **OPTIONS)
    row_ND = fill(case, filled)
    query_BD, key_BD = project(case, batch)
    expected = lightly_loss(query_BD, key_BD.detach(), row_ND, 0.3)
    checks.assert_same(case.task.loss(batch), expected, batch["0"].embedding_BD)


def test_keys_of_the_same_video_are_no_negatives() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = hand.make_batch(case.views, num=4)
    row_ND = fill(case, 6, video=2)  # of videos 2 to 7; the batch has 0 to 3
    query_BD, key_BD = project(case, batch)
    keys, videos = torch.cat([key_BD, row_ND]), torch.tensor([0, 1, 2, 3, 2, 3, 4, 5, 6, 7])
    expected = naive_views.info_nce(query_BD, keys, batch.video_id_B, videos, 0.3)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


def test_queue_holds_the_newest_keys_with_their_videos() -> None:
    case = hand.build(RGB, **OPTIONS)
    first, second = (hand.make_batch(case.views, seed=seed) for seed in (1, 2))
    case.task.after_step(first)
    case.task.after_step(second)
    queue = case.task.queue
    keys = torch.cat([project(case, batch)[1] for batch in (first, second)])[3:]  # 9 of 12 fit
    videos = torch.cat([first.video_id_B, second.video_id_B])[3:]
    for key, video in zip(keys, videos.tolist(), strict=True):
        there = (queue.row_FD == key).all(dim=1)
        assert queue.video_id_F[there].tolist() == [video]


def test_head_has_no_batchnorm_and_a_momentum_copy() -> None:
    task = hand.build(RGB).task
    assert not [m for m in task.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    checks.assert_momentum_heads_start_equal(task, 1)


def test_checkpoint_restores_queue_and_momentum_projector(tmp_path: Path) -> None:
    checks.assert_checkpoint_restores_task(RGB, tmp_path, **OPTIONS)


def test_key_is_the_other_clip_in_the_momentum_encoder() -> None:
    case = hand.build(RGB)
    assert case.views == {
        "0": View(Stream.RGB, space=STRONG, draw=0),
        "momentum 1": View(Stream.RGB, space=STRONG, draw=1, encoder=Role.MOMENTUM),
    }
    checks.assert_clips_differ_in_time(case, ["0", "momentum 1"])


def test_default_temperature_is_moco_v2s() -> None:
    assert hand.build(RGB).task.temperature == 0.2


def test_queue_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        hand.build(RGB, queue_size=0)
