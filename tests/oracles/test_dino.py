from collections.abc import Callable

import pytest
import torch
from lightly.loss import DINOLoss
from torch import Tensor
from torch.nn import functional as F

from evossl.models.heads.dino_head import DINOHead, teacher_temperature
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES, head_outputs, make_edge_batch

OPTIONS = {
    "prototypes": 12,
    "local_crops": 3,
    "teacher_temperature": 0.07,
    "temperature_warmup": 0.2,
}
RGB = Term("dino", Place((Stream.RGB,)))


def lightly_loss(case: hand.Case, batch: TaskBatch, temperature: float) -> tuple[Tensor, Tensor]:
    """Return lightly's loss, and its centre after the step; cosines are computed by torch."""
    task = case.task

    def scores(head: DINOHead) -> Callable[[Tensor], Tensor]:
        return lambda x_BD: F.cosine_similarity(
            head.projector(x_BD)[:, None], head.prototypes.weight, dim=-1
        )

    student = head_outputs(
        scores(task.student_head), batch, [n for n in case.views if "teacher" not in n]
    )
    with torch.no_grad():
        teacher = head_outputs(scores(task.teacher_head), batch, ["teacher 0", "teacher 1"])
    loss = DINOLoss(OPTIONS["prototypes"]).double()
    loss.center.copy_(task.centre.mean_K)
    return loss(teacher, student, teacher_temp=temperature), loss.center.flatten()


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_loss_gradient_and_centre_equal_lightly_loss(stream: Stream, edge: str) -> None:
    case = hand.build(Term("dino", Place((stream,))), **OPTIONS)
    case.task.after_step(hand.make_batch(case.views, seed=5))  # makes the centre non-zero
    case.task.double()
    batch = make_edge_batch(edge, case.views)
    ours = case.task.loss(batch)
    theirs, centre_K = lightly_loss(
        case, batch, temperature=0.07
    )  # progress 0.5: after the warm-up
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    leaves = [view.embedding_BD for name, view in batch.views.items() if "teacher" not in name]
    for mine, wanted in zip(*(torch.autograd.grad(x, leaves) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-9)
    assert case.task.centre.mean_K.abs().max() > 1e-3
    case.task.after_step(batch)
    torch.testing.assert_close(case.task.centre.mean_K, centre_K)


@pytest.mark.parametrize(
    ("progress", "temperature"), [(0.0, 0.04), (0.1, 0.055), (0.2, 0.07), (0.9, 0.07)]
)
def test_teacher_temperature_rises_linearly(progress: float, temperature: float) -> None:
    given = teacher_temperature(progress, final=0.07, warmup=0.2)
    assert given == pytest.approx(temperature)


def test_no_warmup_gives_the_final_temperature() -> None:
    assert teacher_temperature(0.0, final=0.07, warmup=0.0) == pytest.approx(0.07)


def test_teacher_head_is_a_momentum_copy() -> None:
    task = hand.build(RGB, **OPTIONS).task
    ((online, follower),) = task.momentum_heads
    assert (online, follower) == (task.student_head, task.teacher_head)
    same = zip(online.parameters(), follower.parameters(), strict=True)
    assert all(torch.equal(a, b) and a is not b and not b.requires_grad for a, b in same)


def test_prototype_length_does_not_matter() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = hand.make_batch(case.views)
    before = case.task.loss(batch)
    with torch.no_grad():
        case.task.student_head.prototypes.weight.mul_(3.0)
    torch.testing.assert_close(case.task.loss(batch), before)


@pytest.mark.parametrize(("progress", "stays"), [(0.0, True), (0.01, False)])
def test_last_layer_is_frozen_at_the_start(progress: float, stays: bool) -> None:
    task = hand.build(RGB, **OPTIONS).task
    task.loss(hand.make_batch(task.views())).backward()
    task.after_backward(progress)
    assert (task.student_head.prototypes.weight.grad is None) == stays
    assert all(p.grad is not None for p in task.student_head.projector.parameters())


def test_teacher_sees_only_the_whole_clips() -> None:
    views = hand.build(RGB, **OPTIONS).views
    assert list(views) == ["0", "1", "local", "teacher 0", "teacher 1"]
    for name in ("0", "1"):
        assert views[f"teacher {name}"].encoder is Role.MOMENTUM
        assert views[f"teacher {name}"].input_key == views[name].input_key
    batch = real.build_batch(views, real.moving_bar(num=6))
    assert not torch.equal(batch["0"].applied.start_B, batch["1"].applied.start_B)


def test_checkpoint_restores_the_centre() -> None:
    case, other = hand.build(RGB, **OPTIONS), hand.build(RGB, seed=1, **OPTIONS)
    case.task.after_step(hand.make_batch(case.views))
    other.task.load_state_dict(case.task.state_dict())
    batch = hand.make_batch(case.views, seed=2)
    assert torch.equal(other.task.centre.mean_K, case.task.centre.mean_K)
    assert torch.equal(other.task.loss(batch), case.task.loss(batch))
