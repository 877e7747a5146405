"""Rows about one step: what tasks share, what the frame around a loss costs, what views cost.

All on one thread, as a trial of one CPU computes. Shapes: B clip, C channel, T frame.
"""

from functools import partial
from unittest import mock

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from many_tasks import tasks_on_rgb, tasks_that_share
from stepper import Stepper
from torch import Tensor

from evossl.config import SearchSpace
from evossl.experiment.terms import resolve_terms
from evossl.io.spaces import load_space
from evossl.models.encoder import build_encoder
from evossl.task import TaskBatch
from evossl.task_loader import load_catalogue
from evossl.training import model as model_module
from evossl.training.model import MultiTaskModel, StepLosses
from evossl.training.view_plan import ViewPlan, plan_views
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from perf.place import Place
from perf.row import Measured, Row, interleaved, seconds, timed

TEN = 10
NARROW = 8


def ten_tasks(place: Place) -> Measured:
    """Ten tasks in one step, and in ten steps."""
    names = tasks_that_share(tasks_on_rgb())[:TEN]
    assert len(names) == TEN, names
    clips = place.clips(place.space(*names), "ten")
    together = Stepper(place.space(*names))
    alone = [Stepper(place.space(name)) for name in names]

    def one_by_one() -> None:
        for stepper in alone:
            stepper.step(clips)

    measured = interleaved(partial(together.step, clips), one_by_one)
    return Measured(measured.values, f"{measured.told}: {', '.join(names)}")


class Unshared(MultiTaskModel):
    """Every term makes its own views and runs its own forwards, and is differentiated by itself."""

    def losses(self, clips: ClipBatch, step: int, progress: float) -> StepLosses:
        """Go through the terms one after another; gradients add up, the losses come detached."""
        terms, plan = self.terms, self.plan
        losses: dict[str, Tensor] = {}
        seen: dict[str, TaskBatch] = {}
        skipped: set[str] = set()
        for term in terms:
            self.terms, self.plan = (term,), self.own_plan(term.name)
            own = super().losses(clips, step, progress)
            loss = own.losses[term.name]
            (loss / len(terms)).backward()  # type: ignore[no-untyped-call]
            losses[term.name] = loss.detach().requires_grad_()
            seen |= own.seen
            skipped |= own.skipped
        self.terms, self.plan = terms, plan
        return StepLosses(losses, seen, frozenset(skipped))

    def own_plan(self, term: str) -> ViewPlan:
        """The views and forwards of a term that shares none."""
        return plan_views({term: self.task(term)}, self.settings)


def everything(place: Place) -> Measured:
    """The whole catalogue in one step, with sharing and without."""
    space = everything_space()
    clips = place.clips(space, "everything")
    catalogue = load_catalogue()
    terms = resolve_terms(space, catalogue)
    shared = Stepper(space)
    apart = Unshared(terms, catalogue, space, 0)
    unshared = Stepper(space, apart)
    parts: dict[Stepper, list[str]] = {}

    def step(stepper: Stepper) -> None:
        parts[stepper] = _parts(stepper, clips)

    measured = interleaved(partial(step, shared), partial(step, unshared), unit="s")
    plan = shared.model.plan
    views = sum(len(views) for views in plan.asked.values())
    alone = sum(len(apart.own_plan(term.name).forwards) for term in terms)
    asked = f"{len(terms)} terms ask for {views} views and {alone} forwards"
    told = f"{asked}, {len(plan.forwards)} of them distinct"
    split = f"{', '.join(parts[shared])} and {', '.join(parts[unshared])}"
    return Measured(measured.values, f"{measured.told}: {told}; the last of them: {split}")


def _parts(stepper: Stepper, clips: ClipBatch) -> list[str]:
    """What a step's seconds go into: views, forwards, backward, and what terms have alone."""
    with (
        timed(model_module, "build_views") as views,
        timed(MultiTaskModel, "_forward") as forwards,
        timed(Tensor, "backward") as backward,
    ):
        whole = seconds(partial(stepper.step, clips))
    spent = {"views": sum(views), "forwards": sum(forwards), "backward": sum(backward)}
    spent["heads, losses, optimiser"] = whole - sum(spent.values())
    return [f"{name} {took:.2f} s" for name, took in spent.items()]


def everything_space() -> SearchSpace:
    """`everything.yaml`, its R(2+1)D narrow and its clips those of `tiny.yaml`."""
    raw = load_space("everything").model_dump(mode="json")
    keys = {key: raw[key] for key in ("streams", "tasks")}
    small = {"backbone": raw["backbone"] | {"width": NARROW}, "training": {"batch_size": 8}}
    return load_space("tiny", keys | small)


def bare_loop(place: Place) -> Measured:
    """SimCLR in our step, and in a loop as anyone would write it; views made beforehand."""
    space = place.space("simclr")
    clips = place.clips(space, "simclr")
    ours = Stepper(space)
    plan, settings = ours.model.plan, ours.model.settings
    made = build_views(plan.inputs, clips, settings, seed=0, step=0)
    first, second = (view.pixels for view in made.values())
    bare = Bare(space)

    with mock.patch.object(model_module, "build_views", return_value=made):
        return interleaved(lambda: ours.step(clips), lambda: bare.step(first, second))


class Bare:
    """SimCLR as a loop in PyTorch and lightly: the same encoder, head and optimiser."""

    def __init__(self, space: SearchSpace) -> None:
        self.encoder = build_encoder(Stream.RGB, space.backbone, 0).train()
        shape = (3, space.clip.frames, space.clip.size, space.clip.size)
        width = self.encoder.shape(shape).width
        self.head = SimCLRProjectionHead(width, width, 128)
        self.loss = NTXentLoss()
        self.params = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.AdamW(self.params, lr=space.optimiser.lr, foreach=True)

    def step(self, first: Tensor, second: Tensor) -> float:
        """One step on two views (B, C, T, H, W); its loss, which anyone would log."""
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
        "sum of the ten single-task steps",
        0.30,
        ten_tasks,
    ),
    Row("everything", "one step of `everything`", "the same with no sharing", 0.35, everything),
    Row(
        "bare-loop",
        "our step, SimCLR alone",
        "a bare PyTorch loop, views made beforehand",
        1.10,
        bare_loop,
    ),
)
