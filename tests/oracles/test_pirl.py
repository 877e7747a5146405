import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from evossl.losses.contrastive import info_nce as our_info_nce
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES, make_edge_batch
from tests.helpers.naive_losses import rows, to_unit
from tests.helpers.naive_multi_view_losses import info_nce

RGB = Term("pirl", Place((Stream.RGB,)))


def projections(case: hand.Case, batch: TaskBatch) -> tuple[Tensor, Tensor]:
    """Return the projections of the patches, concatenated in their order, and of the clip."""
    task, patch_BND = case.task, batch["patches"].embedding_BD
    in_a_row = torch.cat(
        [task.patch_projector(patch_BD) for patch_BD in patch_BND.unbind(1)], dim=1
    )
    return task.patch_merger(in_a_row), task.projector(batch["clip"].embedding_BD)


def expected_loss(case: hand.Case, batch: TaskBatch, bank: dict[int, list[float]]) -> float:
    """Return the InfoNCE of both projections with a dictionary as the memory bank."""
    patches_BP, clip_BP = projections(case, batch)
    videos = batch.video_id_B.tolist()
    own = [bank.get(video, clip) for video, clip in zip(videos, rows(clip_BP), strict=True)]
    rest = {video: row for video, row in bank.items() if video not in videos}
    key_MP = torch.tensor(own + list(rest.values()), dtype=torch.float64)
    whose_M = torch.tensor(videos + list(rest))
    parts = [
        info_nce(query_BP, key_MP, batch.video_id_B, whose_M, 0.07)
        for query_BP in (patches_BP, clip_BP)
    ]
    return sum(parts) / 2


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY, Stream.FLOW])
def test_loss_equals_its_formula(stream: Stream, edge: str, is_empty: bool) -> None:
    case = hand.build(Term("pirl", Place((stream,))))
    case.task.double()
    bank: dict[int, list[float]] = {}
    if not is_empty:
        before = replace(
            make_edge_batch("random", case.views, 1), video_id_B=torch.tensor([0, 7, 1, 8, 9, 3])
        )
        case.task.after_step(before)
        rows_of = zip(before.video_id_B.tolist(), rows(projections(case, before)[1]), strict=True)
        bank = {video: to_unit(row) for video, row in rows_of}
    batch = make_edge_batch(edge, case.views)
    loss = case.task.loss(batch)
    assert math.isclose(loss.item(), expected_loss(case, batch, bank), rel_tol=1e-5)


def test_bank_rows_are_running_means_on_the_sphere() -> None:
    case = hand.build(RGB)
    case.task.double()
    bank: dict[int, list[float]] = {}
    for seed, videos in enumerate([[0, 1, 2, 3, 4, 5], [7, 1, 9, 3, 8, 5], [1, 0, 9, 6, 5, 2]]):
        random = make_edge_batch("random", case.views, seed)
        batch = replace(random, video_id_B=torch.tensor(videos))
        loss = case.task.loss(batch)
        assert math.isclose(loss.item(), expected_loss(case, batch, bank), rel_tol=1e-5)
        case.task.after_step(batch)
        for video, new in zip(videos, rows(projections(case, batch)[1]), strict=True):
            old = bank.get(video, to_unit(new))
            bank[video] = to_unit([(a + b) / 2 for a, b in zip(old, to_unit(new), strict=True)])


def test_unknown_videos_row_passes_no_gradient() -> None:
    case = hand.build(RGB)
    case.task.double()
    batch = make_edge_batch("random", case.views)
    patches_BP, clip_BP = projections(case, batch)
    fixed_BP, videos = clip_BP.detach(), batch.video_id_B
    expected = torch.stack(
        [our_info_nce(query, fixed_BP, videos, videos, 0.07) for query in (patches_BP, clip_BP)]
    )
    leaves = [batch[name].embedding_BD for name in ("clip", "patches")]
    ours, theirs = (
        torch.autograd.grad(x, leaves) for x in (case.task.loss(batch), expected.mean())
    )
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, wanted)


def test_checkpoint_restores_the_bank() -> None:
    case, other = (hand.build(RGB, seed, bank_size=8) for seed in (0, 1))
    case.task.after_step(hand.make_batch(case.views))
    other.task.load_state_dict(case.task.state_dict())
    batch = hand.make_batch(case.views, seed=2)
    assert len(other.task.bank) == 6
    assert torch.equal(other.task.loss(batch), case.task.loss(batch))


def test_patches_have_their_own_time_crop_and_order() -> None:
    case = hand.build(RGB)
    batch = real.build_batch(case.views, real.moving_bar())
    clip, patches = batch["clip"].applied, batch["patches"].applied
    assert batch["patches"].pixels.shape[1:] == (8, 3, 4, 16, 16)
    assert not torch.equal(clip.start_B, patches.start_B)
    assert not torch.equal(clip.crop_B4, patches.crop_B4)
    assert len(patches.permutation_BN.unique(dim=0)) > 12
