"""Rows about one step: what tasks share, and what our training loop costs.

All use one thread, like a trial with one CPU. Shapes: B clip, C channel, T frame.
"""

from functools import partial
from unittest import mock

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from many_tasks_cost import methods_on_rgb, sharing_methods
from torch import Tensor
from training_step import Stepper

from evossl.config import SearchSpace
from evossl.io.spaces import load_space
from evossl.models.encoder import build_encoder
from evossl.task import TaskBatch
from evossl.training import model as model_module
from evossl.training.model import BatchLosses, MultiTaskModel
from evossl.training.resolved_space import resolve_space
from evossl.training.view_plan import ViewPlan, plan_views
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from perf.bench_folder import BenchFolder
from perf.measurement import Measurement, Row, measure_ratio, record_durations, seconds_per_call

NUM_TASKS = 10
NARROW_WIDTH = 8


def ten_tasks(bench: BenchFolder) -> Measurement:
    """Return the time of one step of ten tasks over that of ten single-task steps."""
    names = sharing_methods(methods_on_rgb())[:NUM_TASKS]
    assert len(names) == NUM_TASKS, names
    clips = bench.first_batch(bench.space(*names), "ten")
    together = Stepper(bench.space(*names))
    alone = [Stepper(bench.space(name)) for name in names]

    def step_each() -> None:
        for stepper in alone:
            stepper.step(clips)

    measurement = measure_ratio(partial(together.step, clips), step_each)
    return Measurement(measurement.values, f"{measurement.details}: {', '.join(names)}")


class UnsharedModel(MultiTaskModel):
    """A model whose terms share no views, no forward passes and no backward pass."""

    def losses(self, clips: ClipBatch, step: int, progress: float) -> BatchLosses:
        """Compute and differentiate one term after another; the returned losses are detached."""
        terms, plan = self.terms, self.plan
        losses: dict[str, Tensor] = {}
        batches: dict[str, TaskBatch] = {}
        skipped: set[str] = set()
        for term in terms:
            self.terms, self.plan = (term,), self.own_plan(term.name)
            own = super().losses(clips, step, progress)
            loss = own.losses[term.name]
            (loss / len(terms)).backward()  # type: ignore[no-untyped-call]
            losses[term.name] = loss.detach().requires_grad_()
            batches |= own.batches
            skipped |= own.skipped
        self.terms, self.plan = terms, plan
        return BatchLosses(losses, batches, frozenset(skipped))

    def own_plan(self, term: str) -> ViewPlan:
        """Return the views and forward passes of one term alone."""
        return plan_views({term: self.task(term)}, self.settings)


def everything(bench: BenchFolder) -> Measurement:
    """Return the time of a step of the whole catalogue with shared views over that without."""
    space = everything_space()
    clips = bench.first_batch(space, "everything")
    shared = Stepper(space)
    unshared_model = UnsharedModel(resolve_space(space), seed=0)
    unshared = Stepper(space, unshared_model)
    parts: dict[Stepper, list[str]] = {}

    def step(stepper: Stepper) -> None:
        parts[stepper] = _parts(stepper, clips)

    measurement = measure_ratio(partial(step, shared), partial(step, unshared), unit="s")
    plan = shared.model.plan
    views = sum(len(views) for views in plan.views.values())
    terms = unshared_model.terms
    forwards = sum(len(unshared_model.own_plan(term.name).forwards) for term in terms)
    requested = f"{len(terms)} terms request {views} views and {forwards} forward passes"
    sharing = f"{requested}, {len(plan.forwards)} of them distinct"
    split = f"{', '.join(parts[shared])} and {', '.join(parts[unshared])}"
    return Measurement(
        measurement.values, f"{measurement.details}: {sharing}; the last repeat: {split}"
    )


def _parts(stepper: Stepper, clips: ClipBatch) -> list[str]:
    """Take a step; return the seconds of its views, forward passes, backward pass and the rest."""
    with (
        record_durations(model_module, "build_views") as views,
        record_durations(MultiTaskModel, "_forward") as forwards,
        record_durations(Tensor, "backward") as backward,
    ):
        whole = seconds_per_call(partial(stepper.step, clips))
    spent = {"views": sum(views), "forward passes": sum(forwards), "backward": sum(backward)}
    spent["heads, losses, optimiser"] = whole - sum(spent.values())
    return [f"{name} {took:.2f} s" for name, took in spent.items()]


def everything_space() -> SearchSpace:
    """Return `everything.yaml` with a narrow R(2+1)D and the clips of `tiny.yaml`."""
    raw = load_space("everything").model_dump(mode="json")
    keys = {key: raw[key] for key in ("streams", "tasks")}
    small = {"backbone": raw["backbone"] | {"width": NARROW_WIDTH}, "training": {"batch_size": 8}}
    return load_space("tiny", keys | small)


def bare_loop(bench: BenchFolder) -> Measurement:
    """Return the time of our SimCLR step over a plain PyTorch loop; views are made beforehand."""
    space = bench.space("simclr")
    clips = bench.first_batch(space, "simclr")
    ours = Stepper(space)
    plan, settings = ours.model.plan, ours.model.settings
    made = build_views(plan.inputs, clips, settings, seed=0, step=0)
    first, second = (view.pixels for view in made.values())
    plain = PlainSimCLR(space)

    with mock.patch.object(model_module, "build_views", return_value=made):
        return measure_ratio(lambda: ours.step(clips), lambda: plain.step(first, second))


class PlainSimCLR:
    """SimCLR as a loop in PyTorch and lightly, with the same encoder, head and optimiser."""

    def __init__(self, space: SearchSpace) -> None:
        self.encoder = build_encoder(Stream.RGB, space.backbone, 0).train()
        shape = (3, space.clip.frames, space.clip.size, space.clip.size)
        width = self.encoder.shape(shape).width
        self.head = SimCLRProjectionHead(width, width, 128)
        self.loss = NTXentLoss()
        self.params = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.AdamW(self.params, lr=space.optimiser.lr, foreach=True)

    def step(self, first: Tensor, second: Tensor) -> float:
        """Take a step on two views (B, C, T, H, W); return its loss, as if it were logged."""
        self.optimiser.zero_grad()
        z0, z1 = (self.head(self.encoder(view).embedding_BD) for view in (first, second))
        loss = self.loss(z0, z1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimiser.step()
        return float(loss)


ROWS = (
    Row(
        "ten-tasks",
        "one step of 10 tasks that share views",
        "the sum of the ten single-task steps",
        0.30,
        ten_tasks,
    ),
    Row(
        "everything", "one step of `everything`", "the same step without sharing", 0.35, everything
    ),
    Row(
        "bare-loop",
        "our step, SimCLR alone",
        "a plain PyTorch loop, views made beforehand",
        1.10,
        bare_loop,
    ),
)
