"""What the oracles of several methods ask for alike: edges, state, views."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evossl.task import Task, TaskBatch, Term
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import seen_at


def at_edge(
    term: Term, edge: str, steps: int = 0, **options: object
) -> tuple[hand.Case, TaskBatch]:
    """The task after some steps, in float64, as are the embeddings it is shown."""
    case = hand.build(term, **options)
    for seed in range(steps):
        case.task.after_step(hand.show(case.views, seed=seed + 5))
    case.task.double()
    return case, seen_at(edge, case.views)


def assert_same(ours: Tensor, theirs: Tensor, *leaves: Tensor) -> None:
    """Two losses and their gradients at the leaves agree to 1e-5 relative."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
    gradients = (torch.autograd.grad(x, leaves, retain_graph=True) for x in (ours, theirs))
    for mine, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-9)


def assert_a_checkpoint_keeps_it(term: Term, folder: Path, **options: object) -> None:
    """Two steps, a file, and two further steps that are those of the task that never stopped."""
    case, other = hand.build(term, **options), hand.build(term, seed=1, **options)
    for seed in (1, 2):
        case.task.after_step(hand.show(case.views, seed=seed))
    save_file(_own(case.task), folder / "task.safetensors")
    other.task.load_state_dict(load_file(folder / "task.safetensors"))
    for seed in (3, 4):
        seen = hand.show(case.views, seed=seed)
        assert torch.equal(case.task.loss(seen), other.task.loss(seen))
        case.task.after_step(seen)
        other.task.after_step(seen)
    there = other.task.state_dict()
    assert all(torch.equal(value, there[name]) for name, value in case.task.state_dict().items())


def _own(task: Task) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def hold_codes(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """SwAV's codes are from now on those of the next loss, as constants."""
    codes, found = task.swap._codes, []

    def first(score_GBK: Tensor) -> Tensor:
        found.append(codes(score_GBK).detach())
        return found[0]

    monkeypatch.setattr(task.swap, "_codes", first)


def assert_no_gradient_passes_through_codes(
    term: Term, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    """The gradient is that of the loss with the codes as constants."""
    case, seen = at_edge(term, "random", **options)
    leaves = [view.embedding_BD for view in seen.views.values()]
    free = torch.autograd.grad(case.task.loss(seen), leaves)
    hold_codes(case.task, monkeypatch)
    held = torch.autograd.grad(case.task.loss(seen), leaves)
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(free, held, strict=True))


def assert_clips_are_of_different_times(case: hand.Case, names: list[str]) -> None:
    """Each two of the named views differ in time and in space."""
    seen = real.see(case.views, real.moving_bar())
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = seen[first].applied, seen[second].applied
            assert not torch.equal(a.start_B, b.start_B)
            assert not torch.equal(a.crop_B4, b.crop_B4)


def assert_views_are_of_one_time(case: hand.Case, names: list[str]) -> None:
    """The named views are equal in time and differ in space."""
    seen = real.see(case.views, real.moving_bar())
    first, *others = (seen[name].applied for name in names)
    for other in others:
        assert torch.equal(first.start_B, other.start_B)
        assert not torch.equal(first.crop_B4, other.crop_B4)


def assert_slow_views_are_the_students(case: hand.Case) -> None:
    """For each view that the student sees, the momentum encoder sees the same pixels."""
    student = {name: v for name, v in case.views.items() if v.encoder is Role.STUDENT}
    slow = {name: v for name, v in case.views.items() if v.encoder is Role.MOMENTUM}
    assert {f"slow {name}": view.input_key for name, view in student.items()} == {
        name: view.input_key for name, view in slow.items()
    }


def assert_followers_begin_as_what_they_follow(task: Task, num: int) -> None:
    """`num` heads, each with a frozen copy of its own."""
    pairs = list(task.followers)
    assert len(pairs) == num
    for online, follower in pairs:
        both = list(zip(online.parameters(), follower.parameters(), strict=True))
        assert both
        assert all(torch.equal(a, b) and a is not b and not b.requires_grad for a, b in both)
