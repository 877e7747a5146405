"""What every task promises, on each of its places: new files are tested at once.

Those of the catalogue and of examples/tasks, in whose place EVOSSL_TASKS may name a user's folder.

Neither `random` nor numpy is among what a task may import, so torch's is the only global RNG.
"""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evossl.config import Cache, Clip
from evossl.task import Place, Task, TaskBatch, Term, heads
from evossl.task_loader import catalogue_root
from evossl.types import Stream
from evossl.views.shapes import check_fits
from evossl.views.spec import Role
from evossl.views.temporal_sampling import min_stretch_frames
from tests.helpers import handmade_batches as hand
from tests.helpers.handmade_batches import Case

FOLDERS = (catalogue_root() / "tasks", hand.TASKS)
FILES = sorted(file for folder in FOLDERS for file in folder.glob("[!_]*.py"))
MAY_IMPORT = ("evossl.task", "evossl.losses", "evossl.types", "evossl.models")
MAY_IMPORT += (
    "evossl.families",
    "evossl.io.task_options",
    "evossl.views.spec",
    "evossl.views.recipes",
)
MAY_IMPORT += ("torch", "collections.abc", "math", "typing")
TERMS = list(hand.all_terms())
BATCH_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(params=TERMS, ids=lambda term: term.name)
def case(request: pytest.FixtureRequest) -> Case:
    return hand.build(request.param)


def graded(case: Case, num: int = 6, scale: float = 1.0) -> tuple[TaskBatch, Tensor]:
    seen = hand.show(case.views, num=num, scale=scale)
    return seen, case.task.loss(seen)


def state(task: Task) -> dict[str, Tensor]:
    kept = task.state_dict().items()
    return {k: v.clone() for k, v in kept if not k.endswith(BATCH_STATISTICS)}


@by_file
def test_a_file_is_named_as_its_task_and_its_docstring_names_a_paper(file: Path) -> None:
    task = hand.CATALOGUE[file.stem]
    module = sys.modules[task.__module__]
    assert task.__module__ == f"evossl_tasks.{file.stem}"
    assert task.__name__.lower() == file.stem.replace("_", "")
    assert re.search(r"[A-Z]\w+ (19|20)\d\d\b", module.__doc__ or ""), "venue and year of a paper"
    assert task.__doc__


@by_file
def test_a_docstring_ends_with_the_factors_that_the_task_should_learn(file: Path) -> None:
    """Named before it is measured: motion, appearance and sound are those of `evossl synth`."""
    *_, last = (sys.modules[hand.CATALOGUE[file.stem].__module__].__doc__ or "").splitlines()
    factor = "(motion|appearance|sound)"
    assert re.fullmatch(rf"Should learn: {factor}(, {factor})*\.", last)


@by_file
def test_a_task_imports_only_what_a_task_may_know(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    ]
    outside = [n for n in imported if not any(n == m or n.startswith(f"{m}.") for m in MAY_IMPORT)]
    assert not outside


def test_weights_have_names_of_their_own_that_tune_can_hold() -> None:
    names = [term.name for term in TERMS]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "/" in name]


def test_views_are_hashable_stand_on_the_place_and_at_least_one_is_trained(case: Case) -> None:
    assert case.views == case.task.views()
    assert len(set(case.views.values())) >= 1
    assert {view.stream for view in case.views.values()} == set(case.term.streams)
    assert any(hand.is_student(case, name) for name in case.views)


def test_views_fit_the_default_stretch(case: Case) -> None:
    clip = Clip()
    for view in case.views.values():
        time = view.time
        frames = time.frames or clip.frames
        window = time.window or time.offset + frames
        stride = max(time.stride) if isinstance(time.stride, tuple) else time.stride
        assert time.offset + frames <= window
        assert min_stretch_frames(window * stride, shift=time.shift > 0) <= clip.stretch
        assert frames % time.segments == 0
        check_fits(view, hand.SETTINGS, clip.stretch, Cache().fps, case.term.name)


def test_the_loss_is_a_finite_scalar_whose_gradient_reaches_heads_and_features(case: Case) -> None:
    seen, loss = graded(case)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for name, weight in case.task.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name
    assert not list(heads(case.task)) or any(p.grad.abs().sum() > 0 for p in heads(case.task))
    for name in (name for name in case.views if hand.is_student(case, name)):
        got = [leaf.grad for leaf in hand.leaves(seen[name].features) if leaf.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in got), name


def test_no_gradient_reaches_what_is_not_trained(case: Case) -> None:
    seen, loss = graded(case)
    loss.backward()
    for name, view in case.views.items():
        if view.encoder is not Role.NONE and not hand.is_student(case, name):
            assert all(leaf.grad is None for leaf in hand.leaves(seen[name].features)), name


def test_two_clips_are_enough(case: Case) -> None:
    _, loss = graded(case, num=2)
    assert torch.isfinite(loss)


def test_features_that_are_all_zero_give_a_finite_loss_and_gradient(case: Case) -> None:
    seen, loss = graded(case, scale=0.0)
    assert torch.isfinite(loss)
    loss.backward()
    grads = [
        leaf.grad for v in seen.views.values() if v.features for leaf in hand.leaves(v.features)
    ]
    assert all(torch.isfinite(grad).all() for grad in grads if grad is not None)


def test_the_loss_is_a_function_of_what_is_seen_and_draws_nothing(case: Case) -> None:
    before = torch.get_rng_state()
    _, first = graded(case)
    _, again = graded(case)
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def test_the_loss_changes_no_state_and_nothing_it_was_shown(case: Case) -> None:
    seen, before = hand.show(case.views), state(case.task)
    copy = hand.show(case.views)
    case.task.loss(seen)
    after = state(case.task)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for name, view in seen.views.items():
        assert torch.equal(view.pixels, copy[name].pixels)
        if view.features is not None:
            pairs = zip(hand.leaves(view.features), hand.leaves(copy[name].features), strict=True)
            assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_the_order_of_the_clips_in_a_batch_does_not_matter(case: Case) -> None:
    seen, loss = graded(case)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(case.task.loss(hand.permuted(seen, order)), loss)
    remembered = []
    for batch in (seen, hand.permuted(seen, order)):
        task = hand.build(case.term).task
        with torch.no_grad():
            task.after_step(batch)
        remembered.append(task.loss(hand.show(case.views, seed=1)))
    torch.testing.assert_close(*remembered)


def test_hooks_run_before_and_after_a_step(case: Case) -> None:
    case.task.before_forward(0.5)
    seen, loss = graded(case)
    loss.backward()
    case.task.after_backward(0.5)
    with torch.no_grad():
        case.task.after_step(seen)
    assert torch.isfinite(case.task.loss(hand.show(case.views, seed=1)))


def test_initial_weights_are_drawn_under_the_callers_seed(case: Case) -> None:
    same, other = hand.build(case.term), hand.build(case.term, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(heads(case.task), heads(same.task), strict=True))
    both = list(zip(heads(case.task), heads(other.task), strict=True))
    assert not both or any(not torch.equal(a, b) for a, b in both)


def test_the_first_tasks_share_the_views_that_the_page_on_faithfulness_counts() -> None:
    first = ("reconstruction", "cross_modal_transfer", "distill", "multimodal_alignment")
    first += ("multimodal_contrast", "simclr", "order_binary", "arrow_of_time", "video_prediction")
    terms = [term for term in TERMS if term.task in first]
    views = [view for term in terms for view in hand.build(term).views.values()]
    seen = [view for view in views if view.encoder is not Role.NONE]
    assert (len(terms), len(seen)) == (53, 80)
    assert Counter(view.stream for view in set(seen)) == {
        "rgb": 6,
        "gray": 6,
        "flow": 7,
        "audio": 6,
    }


def test_a_term_builds_the_place_it_is_named_after() -> None:
    term = Term("distill", Place((Stream.FLOW, Stream.RGB), directed=True, variant="stage3"))
    assert term in TERMS
    assert term.name == "distill.flow->rgb.stage3"
