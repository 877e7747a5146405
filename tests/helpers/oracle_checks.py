"""Checks that the oracle tests of several methods share: edge cases, state, views."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evossl.task import Task, TaskBatch, Term
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import make_edge_batch


def build_edge_case(
    term: Term, edge: str, steps: int = 0, **options: object
) -> tuple[hand.Case, TaskBatch]:
    """Return the task after some steps and a batch, both in float64."""
    case = hand.build(term, **options)
    for seed in range(steps):
        case.task.after_step(hand.make_batch(case.views, seed=seed + 5))
    case.task.double()
    return case, make_edge_batch(edge, case.views)


def assert_same(ours: Tensor, theirs: Tensor, *leaves: Tensor) -> None:
    """Check that two losses and their gradients agree to a relative 1e-5."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
    gradients = (torch.autograd.grad(x, leaves, retain_graph=True) for x in (ours, theirs))
    for mine, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-9)


def assert_checkpoint_restores_task(term: Term, folder: Path, **options: object) -> None:
    """Check that a task restored from a file continues as the task that was saved."""
    case, other = hand.build(term, **options), hand.build(term, seed=1, **options)
    for seed in (1, 2):
        case.task.after_step(hand.make_batch(case.views, seed=seed))
    save_file(_cloned_state(case.task), folder / "task.safetensors")
    other.task.load_state_dict(load_file(folder / "task.safetensors"))
    for seed in (3, 4):
        batch = hand.make_batch(case.views, seed=seed)
        assert torch.equal(case.task.loss(batch), other.task.loss(batch))
        case.task.after_step(batch)
        other.task.after_step(batch)
    restored = other.task.state_dict()
    assert all(torch.equal(x, restored[name]) for name, x in case.task.state_dict().items())


def _cloned_state(task: Task) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def freeze_codes(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SwAV use the codes of its next loss from then on, as constants."""
    assign_codes, found = task._assign_codes, []

    def first(score_GBK: Tensor) -> Tensor:
        found.append(assign_codes(score_GBK).detach())
        return found[0]

    monkeypatch.setattr(task, "_assign_codes", first)


def assert_codes_have_no_gradient(
    term: Term, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    """Check that the gradient is that of the loss with constant codes."""
    case, batch = build_edge_case(term, "random", **options)
    leaves = [view.embedding_BD for view in batch.views.values()]
    free = torch.autograd.grad(case.task.loss(batch), leaves)
    freeze_codes(case.task, monkeypatch)
    held = torch.autograd.grad(case.task.loss(batch), leaves)
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(free, held, strict=True))


def assert_clips_differ_in_time(case: hand.Case, names: list[str]) -> None:
    """Check that any two of the named views differ in time and in space."""
    batch = real.build_batch(case.views, real.moving_bar())
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = batch[first].applied, batch[second].applied
            assert not torch.equal(a.start_B, b.start_B)
            assert not torch.equal(a.crop_B4, b.crop_B4)


def assert_views_share_time(case: hand.Case, names: list[str]) -> None:
    """Check that the named views are equal in time and differ in space."""
    batch = real.build_batch(case.views, real.moving_bar())
    first, *others = (batch[name].applied for name in names)
    for other in others:
        assert torch.equal(first.start_B, other.start_B)
        assert not torch.equal(first.crop_B4, other.crop_B4)


def assert_momentum_views_match_student(case: hand.Case) -> None:
    """Check that the momentum encoder sees the same pixels as the student, for each view."""
    student = {name: v for name, v in case.views.items() if v.encoder is Role.STUDENT}
    momentum = {name: v for name, v in case.views.items() if v.encoder is Role.MOMENTUM}
    assert {f"momentum {name}": view.input_key for name, view in student.items()} == {
        name: view.input_key for name, view in momentum.items()
    }


def assert_momentum_heads_start_equal(task: Task, num: int) -> None:
    """Check that `num` heads have a frozen copy each, with equal initial weights."""
    pairs = list(task.momentum_heads)
    assert len(pairs) == num
    for head, momentum_head in pairs:
        both = list(zip(head.parameters(), momentum_head.parameters(), strict=True))
        assert both
        assert all(torch.equal(a, b) and a is not b and not b.requires_grad for a, b in both)
