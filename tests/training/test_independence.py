"""Removing any task changes no other task: over the whole catalogue, in two steps.

Bit for bit: the other tasks' losses, their heads' gradients, and at the end their heads, queues,
banks and centres, and the momentum encoders. To rounding (a sum in another order): the gradient
that the encoders get from them. Weights and scales are the same with and without the task.

Views are made once for all trainings; that they are the same in any company is shown in
tests/views/test_view_build.py. In place of an optimiser, whose steps follow all tasks, each weight
moves by noise that its name decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from evossl.config import SearchSpace
from evossl.experiment.gradient_scales import measure_scales
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.models.encoder import build_encoder
from evossl.rng import derive_seed
from evossl.task_loader import load_catalogue
from evossl.training import model as model_module
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.resolved_space import resolve_space
from evossl.types import Stream
from tests.helpers.training_cases import make_clips, make_model, make_space

CATALOGUE = load_catalogue()
CLIPS, STEPS, DECAY, PROGRESS, NUDGE = 4, 2, 0.9, 0.5, 0.01
SMALL = {
    "backbone": {"name": "c3d", "width": 2},
    "clip": {"frames": 8, "size": 24, "stretch": 24, "mel_bands": 24},
}
FEW = {
    "cross_modal_transfer": ["gray->rgb"],
    "multimodal_contrast": ["rgb+audio"],
    "multimodal_alignment": ["rgb+audio"],
    "distill": ["gray->rgb.stage3"],
    "tempo": ["rgb.speed", "rgb.consistency"],
    "knowledge_distillation": ["rgb.logits", "rgb.features"],
}
"""Places of the tasks in the quick test, if not RGB."""
SPREAD = ("byol", "colorization", "dino", "distill", "jepa", "moco", "order_binary", "pirl", "swav")
"""One task of each kind: momentum, queue, centre, memory bank, hooks, masks, pieces, pairs."""
BATCHNORM = ("running_mean", "running_var", "num_batches_tracked")

Gradients = Mapping[str, Tensor]


@dataclass(frozen=True)
class Step:
    """Losses and gradients of one step; encoder gradients are those of all tasks together."""

    losses: Mapping[str, Tensor]
    heads: Gradients
    encoders: Gradients


@dataclass(frozen=True)
class Trained:
    """A training of two steps.

    Attributes:
        steps: what they gave.
        own: by step and task, what it gives to the encoders alone; if asked for.
        state: at the end. Of BatchNorm in encoders the weights alone: its statistics follow every
            view, are not read in training and are estimated anew before any use.
    """

    steps: list[Step]
    own: list[Mapping[str, Gradients]]
    state: Mapping[str, Tensor]


def train(model: MultiTaskModel, scales: Mapping[str, float], *, apart: bool = False) -> Trained:
    """Train; with `apart`, also record each task's own gradient on the encoders."""
    steps, own = [], []
    weights = dict.fromkeys(model.plan.views, 1.0)
    for step in range(STEPS):
        result = model.losses(make_clips(CLIPS, seed=step), step, PROGRESS)
        assert not result.skipped
        total, weighted = Objective(weights, scales).combine(result.losses)
        if apart:
            own.append(each_task(model, weighted))
        model.zero_grad(set_to_none=True)
        total.backward()
        for term in model.terms:
            model.task(term.name).after_backward(PROGRESS)
        losses = {name: loss.detach() for name, loss in result.losses.items()}
        steps.append(Step(losses, gradients(model.heads), gradients(model.encoders)))
        nudge(model, step)
        model.after_step(result.batches, DECAY)
    return Trained(steps, own, state(model))


def each_task(model: MultiTaskModel, weighted: Mapping[str, Tensor]) -> dict[str, Gradients]:
    """Each task's gradient with respect to the encoders."""
    weights = dict(model.encoders.named_parameters())
    found = {}
    for task in dict.fromkeys(term.task for term in model.terms):
        own = [loss for name, loss in weighted.items() if task_of(name) == task]
        given = torch.autograd.grad(
            sum(own, start=torch.zeros(())), list(weights.values()), retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        found[task] = {n: g for n, g in zip(weights, given, strict=True) if g is not None}
    return found


def task_of(term: str) -> str:
    return term.split(".")[0]


def gradients(module: torch.nn.Module) -> Gradients:
    named = module.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


@torch.no_grad()
def nudge(model: MultiTaskModel, step: int) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            generator = torch.Generator().manual_seed(derive_seed(step, name))
            parameter += NUDGE * torch.randn(parameter.shape, generator=generator)


def state(model: MultiTaskModel) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if not (name.startswith(("encoders.", "momentum.")) and name.endswith(BATCHNORM))
    }


def check_the_rest(everything: Trained, without: Trained, task: str) -> None:
    """Check that everything of the other tasks is the same with and without the task."""
    for whole, part, own in zip(everything.steps, without.steps, everything.own, strict=True):
        assert whole.losses.keys() - part.losses.keys() == {
            name for name in whole.losses if task_of(name) == task
        }
        check_equal(part.losses, whole.losses)
        check_equal(part.heads, whole.heads)
        for name, gradient in part.encoders.items():
            expected = whole.encoders[name] - own[task].get(name, torch.zeros(()))
            size = max(float(g[name].abs().max()) for g in own.values() if name in g)
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4 * size)
    check_equal(without.state, everything.state)


def check_equal(part: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
    assert part
    assert [name for name, value in part.items() if not torch.equal(value, whole[name])] == []


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an exported encoder."""
    folder = tmp_path_factory.mktemp("teacher") / "encoder"
    space = make_space({"simclr": {}}, **SMALL)
    encoder = build_encoder(Stream.RGB, space.backbone, seed=9)
    export_encoder(encoder, folder, EncoderConfig.from_space(space, encoder))
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def made_once() -> Iterator[None]:
    """Build each step's views once; they are a function of the step."""
    plain, kept = model_module.build_views, {}

    def make(views, clips, settings, *, seed, step):  # type: ignore[no-untyped-def]
        made = kept.setdefault(step, {})
        made |= plain([v for v in views if v not in made], clips, settings, seed=seed, step=step)
        return {view: made[view] for view in views}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_module, "build_views", make)
        yield


def whole_space(teacher: str, places: Mapping[str, list[str]] | None) -> SearchSpace:
    """A space of all tasks on the given places (RGB by default); None is every place."""
    tasks: dict[str, dict[str, object]] = {}
    for name, task in CATALOGUE.items():
        tasks[name] = {"teacher": teacher} if task.needs_teacher else {}
        if places is not None:
            tasks[name]["places"] = places.get(name, ["rgb"])
    return make_space(tasks, **SMALL)


@dataclass(frozen=True)
class World:
    """All tasks trained together, and how to train all but one."""

    space: SearchSpace
    scales: Mapping[str, float]
    everything: Trained

    @classmethod
    def of(cls, space: SearchSpace) -> "World":
        clips = [make_clips(CLIPS, seed=0)]
        scales = measure_scales(resolve_space(space), clips, seed=0)
        return cls(space, scales, train(make_model(space), scales, apart=True))

    def without(self, task: str) -> Trained:
        rest = {name for name in self.scales if task_of(name) != task}
        return train(make_model(self.space, rest), self.scales)


@pytest.fixture(scope="module")
def few_places(teacher: str) -> World:
    return World.of(whole_space(teacher, FEW))


@pytest.fixture(scope="module")
def every_place(teacher: str) -> World:
    return World.of(whole_space(teacher, None))


@pytest.mark.parametrize("task", SPREAD)
def test_removing_a_task_changes_no_other_task_on_rgb(few_places: World, task: str) -> None:
    without = few_places.without(task)
    assert {task_of(name) for name in without.steps[0].losses} == CATALOGUE.keys() - {task}
    check_the_rest(few_places.everything, without, task)


@pytest.mark.slow
@pytest.mark.parametrize("task", CATALOGUE)
def test_removing_a_task_changes_no_other_task(every_place: World, task: str) -> None:
    without = every_place.without(task)
    assert {task_of(name) for name in without.steps[0].losses} == CATALOGUE.keys() - {task}
    check_the_rest(every_place.everything, without, task)
