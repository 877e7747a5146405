"""The contract of every task, also of new files: views, loss, gradients, state and imports.

The tests cover the catalogue and examples/tasks; EVOSSL_TASKS may name a user's folder instead of
the latter. In CI each catalogue task runs on its first place; `-m "slow or not slow"` adds the
other places.

Neither `random` nor numpy is among a task's allowed imports, so torch has the only global RNG.
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
from evossl.task import Place, Task, TaskBatch, Term, trainable_parameters
from evossl.task_loader import catalogue_root
from evossl.types import Stream
from evossl.views.shapes import check_fits
from evossl.views.spec import Role
from evossl.views.temporal_sampling import min_stretch_frames
from tests.helpers import handmade_batches as hand
from tests.helpers.contract_cases import ALL_TERMS, TERM_CASES, TermCase
from tests.helpers.handmade_batches import Case

FOLDERS = (catalogue_root() / "tasks", hand.TASKS_FOLDER)
FILES = sorted(file for folder in FOLDERS for file in folder.glob("[!_]*.py"))
ALLOWED_IMPORTS = (
    "evossl.io.task_options",
    "evossl.losses",
    "evossl.models.heads",
    "evossl.task",
    "evossl.types",
    "evossl.views.recipes",
    "evossl.views.spec",
    "torch",
    "collections.abc",
    "math",
    "typing",
)
"""A task imports components, and never another task."""
BATCH_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(params=TERM_CASES)
def term_case(request: pytest.FixtureRequest) -> TermCase:
    return request.param


@pytest.fixture
def case(term_case: TermCase) -> Case:
    return hand.build(term_case.term, **term_case.options)


def compute_loss(case: Case, num: int = 6, scale: float = 1.0) -> tuple[TaskBatch, Tensor]:
    batch = hand.make_batch(case.views, num=num, scale=scale)
    return batch, case.task.loss(batch)


def copy_state(task: Task) -> dict[str, Tensor]:
    """Return a copy of the weights and buffers without BatchNorm's statistics."""
    state = task.state_dict().items()
    return {k: v.clone() for k, v in state if not k.endswith(BATCH_STATISTICS)}


@each_file
def test_file_is_named_as_its_task_and_cites_a_paper(file: Path) -> None:
    task = hand.CATALOGUE[file.stem]
    module = sys.modules[task.__module__]
    assert task.__module__ == f"evossl_tasks.{file.stem}"
    assert task.__name__.lower() == file.stem.replace("_", "")
    assert re.search(r"[A-Z]\w+ (19|20)\d\d\b", module.__doc__ or ""), "venue and year of a paper"
    assert task.__doc__


@each_file
def test_docstring_ends_with_what_the_task_should_learn(file: Path) -> None:
    """Stated before it is measured; motion, appearance and sound are factors of `evossl synth`."""
    *_, last = (sys.modules[hand.CATALOGUE[file.stem].__module__].__doc__ or "").splitlines()
    factor = "(motion|appearance|sound)"
    assert re.fullmatch(rf"Expected to learn: {factor}(, {factor})*\.", last)


@each_file
def test_task_imports_only_components(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    ]
    allowed = [n for n in imported for a in ALLOWED_IMPORTS if n == a or n.startswith(f"{a}.")]
    assert sorted(imported) == sorted(allowed)


def test_term_names_are_unique_and_contain_no_slash() -> None:
    names = [term.name for term in ALL_TERMS]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "/" in name]


def test_views_use_the_place_and_one_trains_an_encoder(case: Case) -> None:
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


def test_loss_is_a_scalar_and_trains_heads_and_features(case: Case) -> None:
    batch, loss = compute_loss(case)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for name, weight in case.task.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name
    head_gradients = [p.grad for p in trainable_parameters(case.task)]
    assert not head_gradients or any(grad.abs().sum() > 0 for grad in head_gradients)
    for name in (name for name in case.views if hand.is_student(case, name)):
        grads = [leaf.grad for leaf in hand.leaves(batch[name].features) if leaf.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads), name


def test_no_gradient_reaches_a_frozen_encoder(case: Case) -> None:
    batch, loss = compute_loss(case)
    loss.backward()
    for name, view in case.views.items():
        if view.encoder is not Role.NONE and not hand.is_student(case, name):
            assert all(leaf.grad is None for leaf in hand.leaves(batch[name].features)), name


def test_loss_of_two_clips_is_finite(case: Case) -> None:
    _, loss = compute_loss(case, num=2)
    assert torch.isfinite(loss)


def test_zero_features_give_a_finite_loss_and_gradient(case: Case) -> None:
    batch, loss = compute_loss(case, scale=0.0)
    assert torch.isfinite(loss)
    loss.backward()
    grads = [
        leaf.grad for v in batch.views.values() if v.features for leaf in hand.leaves(v.features)
    ]
    assert all(torch.isfinite(grad).all() for grad in grads if grad is not None)


def test_loss_is_deterministic_and_draws_no_random_numbers(case: Case) -> None:
    rng_state = torch.get_rng_state()
    _, first = compute_loss(case)
    _, second = compute_loss(case)
    assert torch.equal(first, second)
    assert torch.equal(rng_state, torch.get_rng_state())


def test_loss_changes_neither_state_nor_input(case: Case) -> None:
    batch, before = hand.make_batch(case.views), copy_state(case.task)
    copy = hand.make_batch(case.views)
    case.task.loss(batch)
    after = copy_state(case.task)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for name, view in batch.views.items():
        assert torch.equal(view.pixels, copy[name].pixels)
        if view.features is not None:
            pairs = zip(hand.leaves(view.features), hand.leaves(copy[name].features), strict=True)
            assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_order_of_clips_does_not_matter(case: Case, term_case: TermCase) -> None:
    batch, loss = compute_loss(case)
    permuted = hand.permute(batch, torch.tensor([3, 0, 5, 1, 4, 2]))
    torch.testing.assert_close(case.task.loss(permuted), loss)
    losses_after_step = []
    for previous in (batch, permuted):
        task = hand.build(term_case.term, **term_case.options).task
        with torch.no_grad():
            task.after_step(previous)
        losses_after_step.append(task.loss(hand.make_batch(case.views, seed=1)))
    torch.testing.assert_close(*losses_after_step)


def test_hooks_run_around_a_step(case: Case) -> None:
    case.task.before_forward(0.5)
    batch, loss = compute_loss(case)
    loss.backward()
    case.task.after_backward(0.5)
    with torch.no_grad():
        case.task.after_step(batch)
    assert torch.isfinite(case.task.loss(hand.make_batch(case.views, seed=1)))


def test_initial_weights_depend_on_the_seed_alone(case: Case, term_case: TermCase) -> None:
    weights, same, other = (
        list(trainable_parameters(hand.build(term_case.term, seed, **term_case.options).task))
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    pairs = list(zip(weights, other, strict=True))
    assert not pairs or any(not torch.equal(a, b) for a, b in pairs)


def test_elo_tasks_share_as_many_views_as_documented() -> None:
    """docs/faithfulness.md names these counts."""
    tasks = ("reconstruction", "cross_modal_transfer", "distill", "multimodal_alignment")
    tasks += ("multimodal_contrast", "simclr", "order_binary", "arrow_of_time", "video_prediction")
    terms = [term for term in ALL_TERMS if term.task in tasks]
    views = [view for term in terms for view in hand.build(term).views.values()]
    encoded = [view for view in views if view.encoder is not Role.NONE]
    assert (len(terms), len(encoded)) == (53, 80)
    assert Counter(view.stream for view in set(encoded)) == {
        "rgb": 6,
        "gray": 6,
        "flow": 7,
        "audio": 6,
    }


def test_term_name_contains_task_place_and_variant() -> None:
    term = Term("distill", Place((Stream.FLOW, Stream.RGB), directed=True, variant="stage3"))
    assert term in ALL_TERMS
    assert term.name == "distill.flow->rgb.stage3"
