import pytest
import torch
from lightly.loss import SwaVLoss
from torch import Tensor
from torch.nn import functional as F

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES, head_outputs, make_edge_batch

OPTIONS = {"epsilon": 0.1, "prototypes": 12, "local_crops": 3}
TEMPERATURE = 0.1  # as in the paper
WHOLE = ("0", "1")
RGB = Term("swav", Place((Stream.RGB,)))


def lightly_loss(case: hand.Case, batch: TaskBatch, queued: TaskBatch | None = None) -> Tensor:
    """Return lightly's loss; `queued` is the batch of the step before. Torch computes cosines."""
    task = case.task

    def scores(x_BD: Tensor) -> Tensor:
        projected_B1P, weight_1KP = task.projector(x_BD)[:, None], task.prototypes.weight[None]
        return F.cosine_similarity(projected_B1P, weight_1KP, dim=-1)

    whole, local = (
        head_outputs(scores, batch, names) for names in (WHOLE, set(case.views) - set(WHOLE))
    )
    loss = SwaVLoss(TEMPERATURE, sinkhorn_epsilon=OPTIONS["epsilon"])
    queue = None if queued is None else head_outputs(scores, queued, WHOLE)
    return loss(whole, local, queue).squeeze()


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_loss_and_gradient_equal_lightly_loss(stream: Stream, edge: str) -> None:
    """The gradient is equal too: none passes through the codes, in lightly or here."""
    case = hand.build(Term("swav", Place((stream,))), **OPTIONS)
    case.task.double()
    batch = make_edge_batch(edge, case.views)
    ours, theirs = case.task.loss(batch), lightly_loss(case, batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    leaves = [view.embedding_BD for view in batch.views.values()]
    for mine, wanted in zip(*(torch.autograd.grad(x, leaves) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-12)


def test_no_gradient_passes_through_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    checks.assert_codes_have_no_gradient(RGB, monkeypatch, **OPTIONS)


def test_views_are_two_clips_and_local_crops() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = real.build_batch(case.views, real.moving_bar(num=6))
    assert list(case.views) == ["0", "1", "local"]
    assert not torch.equal(batch["0"].applied.start_B, batch["1"].applied.start_B)
    assert batch["local"].pixels.shape == (6, 3, 3, hand.FRAMES, hand.SIZE // 2, hand.SIZE // 2)
    assert list(hand.build(Term("swav", Place((Stream.AUDIO,)))).views) == ["0", "1"]


def test_prototypes_are_normalised_before_each_forward() -> None:
    case = hand.build(RGB, **OPTIONS)
    weight = case.task.prototypes.weight
    directions = F.normalize(weight.detach(), dim=1)
    with torch.no_grad():
        weight.mul_(torch.arange(1.0, len(weight) + 1)[:, None])
    case.task.before_forward(0.5)
    torch.testing.assert_close(weight.detach(), directions)


@pytest.mark.parametrize(("progress", "stays"), [(0.0, True), (0.009, True), (0.01, False)])
def test_prototypes_are_frozen_at_the_start(progress: float, stays: bool) -> None:
    """Weight decay and momentum would move a weight whose gradient is zero instead of None."""
    case = hand.build(RGB, **OPTIONS)
    weight = case.task.prototypes.weight
    optimiser = torch.optim.AdamW(case.task.parameters(), lr=0.1, weight_decay=0.1)
    before = weight.detach().clone()
    case.task.loss(hand.make_batch(case.views)).backward()
    case.task.after_backward(progress)
    optimiser.step()
    assert torch.equal(weight, before) == stays


@pytest.mark.parametrize(("size", "counts"), [(6, True), (7, False)])
def test_full_queue_takes_part_in_the_codes(size: int, counts: bool) -> None:
    case = hand.build(RGB, queue_size=size, **OPTIONS)
    before, batch = hand.make_batch(case.views, seed=1), hand.make_batch(case.views, seed=2)
    alone = case.task.loss(batch)
    case.task.after_step(before)
    loss = case.task.loss(batch)
    assert torch.equal(loss, alone) != counts
    expected = lightly_loss(case, batch, before if counts else None)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


def test_checkpoint_restores_the_queue() -> None:
    case, other = (hand.build(RGB, seed, queue_size=4, **OPTIONS) for seed in (0, 1))
    case.task.after_step(hand.make_batch(case.views))
    other.task.load_state_dict(case.task.state_dict())
    batch = hand.make_batch(case.views, seed=2)
    assert len(other.task.queue) == 4
    assert torch.equal(other.task.loss(batch), case.task.loss(batch))
