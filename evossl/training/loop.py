"""The training loop: a step fits a screen."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from evossl.config import SearchSpace
from evossl.data.loader import ClipLoader
from evossl.errors import RunError
from evossl.models.ema import cosine_ema_decay
from evossl.optim.optimisers import build_optimiser, learning_rate, set_learning_rate
from evossl.training import history
from evossl.training.checkpoint import load_checkpoint, save_checkpoint
from evossl.training.conflict import measure_conflict
from evossl.training.denormals import no_denormals
from evossl.training.history import Conflict, StepReport
from evossl.training.model import MultiTaskModel, StepLosses
from evossl.training.objective import combine
from evossl.types import ClipBatch

CONFLICTS = 10  # measurements in a training, at most


class TrainingFailedError(RunError):
    """The training itself went wrong (not finite, past its deadline): a trial's `Failure`."""


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts, and how often it speaks and saves.

    Attributes:
        steps: optimiser steps.
        log_every: steps between two reports; the first and the last are always given.
        save_every: steps between two checkpoints; None saves only at the end.
        deadline_seconds: of wall time, for this training.
    """

    steps: int
    log_every: int = 10
    save_every: int | None = None
    deadline_seconds: float | None = None

    @property
    def conflict_every(self) -> int:
        """Steps between two measurements of conflict: at most ten, each at a reported step."""
        return self.log_every * math.ceil(self.steps / (CONFLICTS * self.log_every))


@dataclass(frozen=True)
class Objective:
    """The numbers of the objective: lambda of the active terms and g of every term."""

    weights: Mapping[str, float]
    scales: Mapping[str, float]


@dataclass(frozen=True)
class StepOutcome:
    """One optimiser step: the last micro-batch's losses, and the norm before clipping.

    `conflict` is of that batch too; None at most steps.
    """

    result: StepLosses
    total: Tensor
    weighted: Mapping[str, Tensor]
    grad_norm: Tensor
    skipped: Counter[str]
    conflict: Conflict | None


def train_step(
    model: MultiTaskModel,
    batches: Iterator[ClipBatch],
    optimiser: torch.optim.Optimizer,
    space: SearchSpace,
    weighing: Objective,
    schedule: Schedule,
    step: int,
) -> StepOutcome:
    """Take `accumulate` batches, one backward each, and one optimiser step.

    Raises:
        TrainingFailedError: a loss or gradient is not finite; names the term.
    """
    device = next(model.parameters()).device
    accumulate = space.training.accumulate
    progress = step / schedule.steps
    skipped: Counter[str] = Counter()
    conflict = None
    optimiser.zero_grad()
    for part in range(accumulate):
        clips = next(batches).to(device)
        result = model.losses(clips, step * accumulate + part, progress)
        total, weighted = combine(result.losses, weighing.weights, weighing.scales)
        if part == accumulate - 1 and (step + 1) % schedule.conflict_every == 0:
            conflict = measure_conflict(model, result)
        (total / accumulate).backward()  # type: ignore[no-untyped-call]
        skipped.update(result.skipped)
        if part < accumulate - 1:
            model.remember(result.seen)
    for term in model.terms:
        model.task(term.name).after_backward(progress)
    norm = clip_grad_norm_(model.trained(), space.optimiser.clip_norm or float("inf"))
    if not torch.isfinite(norm):
        raise TrainingFailedError(_not_finite(step, result))
    optimiser.step()
    model.after_step(result.seen, cosine_ema_decay(space.training.ema_decay, progress))
    return StepOutcome(result, total, weighted, norm, skipped, conflict)


def train(
    model: MultiTaskModel,
    loader: ClipLoader,
    space: SearchSpace,
    weighing: Objective,
    schedule: Schedule,
    folder: Path,
    *,
    resume: bool = False,
) -> Generator[StepReport, None, None]:
    """Train `model` on its own device; write `history.jsonl` and `checkpoint/` in `folder`.

    A generator: it trains while it is consumed, and closing it stops the training cleanly.

    Args:
        model: of the active terms.
        loader: gives the batch of each step, a pure function of the step.
        space: optimiser and training choices.
        weighing: weights and scales.
        schedule: steps, reports, checkpoints, deadline.
        folder: of the trial.
        resume: go on from `folder/checkpoint` if there is one: same losses, bit for bit on a CPU.

    Yields:
        A report every `log_every` steps, and of the first and the last.

    Raises:
        TrainingFailedError: a loss or gradient is not finite (names the term), or the deadline.
        RunError: the disk is full.
    """
    encoders, heads = model.encoders.parameters(), model.heads.parameters()
    optimiser = build_optimiser(encoders, heads, space.optimiser)
    checkpoint, log = folder / "checkpoint", folder / "history.jsonl"
    start = 0
    if resume and checkpoint.is_dir():
        start = int(load_checkpoint(checkpoint, model, optimiser)["step"])
    history.cut(log, start)
    meter = _Meter(loader, start, space.training.accumulate * space.training.batch_size)
    batches = _batches(model, loader, range(start, schedule.steps), space.training.accumulate)
    model.train()
    with contextlib.closing(batches):
        for step in range(start, schedule.steps):
            lr = learning_rate(step, schedule.steps, space.optimiser)
            set_learning_rate(optimiser, lr)
            with no_denormals():
                outcome = train_step(model, batches, optimiser, space, weighing, schedule, step)
            done = step + 1
            meter.skipped.update(outcome.skipped)
            if done % schedule.log_every == 0 or done in (start + 1, schedule.steps):
                report = meter.report(done, lr, outcome)
                history.append(log, report)
                with meter.paused():  # a rung is scored, or a driver waits
                    yield report
            if done == schedule.steps or (schedule.save_every and done % schedule.save_every == 0):
                save_checkpoint(checkpoint, model, optimiser, {"step": done})
            elif schedule.deadline_seconds and meter.seconds > schedule.deadline_seconds:
                raise TrainingFailedError(
                    f"past its deadline of {schedule.deadline_seconds:g} s "
                    f"at step {done} of {schedule.steps}"
                )


def _batches(
    model: MultiTaskModel, loader: ClipLoader, steps: range, accumulate: int
) -> Generator[ClipBatch, None, None]:
    start, stop = steps.start * accumulate, steps.stop * accumulate
    return loader.prefetch(start, stop, pinned=next(model.parameters()).is_cuda)


class _Meter:
    """Clips, seconds and waiting since a training began or was resumed."""

    def __init__(self, loader: ClipLoader, start: int, clips_per_step: int) -> None:
        self.skipped: Counter[str] = Counter()
        self._loader = loader
        self._start = start
        self._clips_per_step = clips_per_step
        self._began = time.monotonic()
        self._waited = loader.wait_seconds  # a warm worker's loader has served trials before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done meanwhile: neither speed nor deadline are about it."""
        since = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - since

    def report(self, done: int, lr: float, outcome: StepOutcome) -> StepReport:
        seconds = max(self.seconds, 1e-9)
        return StepReport(
            step=done,
            total=float(outcome.total.detach()),
            lr=lr,
            grad_norm=float(outcome.grad_norm),
            seconds=seconds,
            clips_per_second=(done - self._start) * self._clips_per_step / seconds,
            data_wait=(self._loader.wait_seconds - self._waited) / seconds,
            loss=_floats(outcome.result.losses),
            weighted=_floats(outcome.weighted),
            skipped=dict(self.skipped),
            conflict=outcome.conflict,
        )


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in values.items()}


def _not_finite(step: int, result: StepLosses) -> str:
    culprit = history.first_not_finite(_floats(result.losses))
    what = f"the loss of {culprit}" if culprit else "the gradient"
    return f"{what} is not finite at step {step + 1}"
