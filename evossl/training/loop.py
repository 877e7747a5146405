"""The training loop: `train` runs it, and `train_step` is one of its steps."""

import contextlib
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from evossl.data.loader import ClipLoader
from evossl.errors import RunError, UserError
from evossl.models.ema import cosine_ema_decay
from evossl.optim.optimisers import build_optimiser
from evossl.optim.schedule import lr_factor, scheduled
from evossl.training import history
from evossl.training.checkpoint import (
    inherit_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from evossl.training.conflict import measure_conflict
from evossl.training.cpu_share import CpuMeter
from evossl.training.denormals import flush_denormals
from evossl.training.history import Conflict, StepReport
from evossl.training.model import BatchLosses, MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule, StepPlan
from evossl.types import ClipBatch


class TrainingFailedError(RunError):
    """The training itself failed (a value is not finite, or the deadline passed)."""


@dataclass(frozen=True)
class StepResult:
    """The outcome of one optimiser step.

    Attributes:
        losses: each term's loss on the last micro-batch. total, weighted: the objective, and each
            term's part in it, of the same batch.
        grad_norm: before clipping.
        skipped: in how many micro-batches each term had too few valid samples.
        conflict: of the last micro-batch; None in most steps.
    """

    losses: Mapping[str, Tensor]
    total: Tensor
    weighted: Mapping[str, Tensor]
    grad_norm: Tensor
    skipped: Counter[str]
    conflict: Conflict | None


def train_step(
    model: MultiTaskModel,
    batches: Iterator[ClipBatch],
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    plan: StepPlan,
) -> StepResult:
    """Take one optimiser step on the next `training.accumulate` batches, one backward pass each.

    Raises:
        TrainingFailedError: a loss or the gradient is not finite; names the term.
    """
    space = model.space
    device = next(model.parameters()).device
    accumulate = space.training.accumulate
    skipped: Counter[str] = Counter()
    conflict = None
    optimiser.zero_grad()
    for part in range(accumulate):
        clips = next(batches).to(device)
        batch = model.losses(clips, plan.step * accumulate + part, plan.progress)
        total, weighted = objective.combine(batch.losses)
        is_last = part == accumulate - 1
        if is_last and plan.measures_conflict:
            conflict = measure_conflict(model, batch)
        (total / accumulate).backward()  # type: ignore[no-untyped-call]
        skipped.update(batch.skipped)
        if not is_last:
            model.update_task_states(batch.batches)
    for term in model.terms:
        model.task(term.name).after_backward(plan.progress)
    norm = clip_grad_norm_(model.trained(), space.optimiser.clip_norm or float("inf"))
    if not torch.isfinite(norm):
        raise TrainingFailedError(_not_finite(plan.step, batch))
    optimiser.step()
    model.after_step(batch.batches, cosine_ema_decay(space.training.ema_decay, plan.progress))
    return StepResult(batch.losses, total, weighted, norm, skipped, conflict)


def train(
    model: MultiTaskModel,
    loader: ClipLoader,
    objective: Objective,
    schedule: Schedule,
    folder: Path,
    *,
    resume: bool = False,
) -> Generator[StepReport, None, None]:
    """Train `model` and yield reports; write `history.jsonl` and `checkpoint/` to `folder`.

    This is a generator: it trains while it is consumed, and closing it stops the training cleanly.

    Args:
        model: the encoders and heads of the active terms, already on the device to train on.
        loader: source of the batches. A batch depends only on its number, not on earlier batches.
        objective: loss weights and gradient scales.
        schedule: steps, start, reports, checkpoints, deadline.
        folder: the trial's folder.
        resume: continue from `folder/checkpoint` if it exists. The losses equal those of an
            uninterrupted training; on a CPU they are bit-identical.

    Yields:
        A report every `log_every` steps, after the first step of this call, and after the last.

    Raises:
        TrainingFailedError: a loss or gradient is not finite (names the term), or the deadline
            passed.
        UserError: the checkpoint it resumes is damaged, or one of another model.
        RunError: the checkpoint it inherits is; or the disk is full.
    """
    training, choice = model.space.training, model.space.optimiser
    optimiser = build_optimiser(model.encoders.parameters(), model.heads.parameters(), choice)
    checkpoint, log = folder / "checkpoint", folder / "history.jsonl"
    start = _load(model, optimiser, schedule, checkpoint if resume else None)
    learning_rate = scheduled(
        optimiser, lambda step: lr_factor(*schedule.clock(step), choice.warmup_fraction), start
    )
    history.truncate(log, start)
    meter = _Meter(loader, start, training.accumulate * training.batch_size)
    inherited = schedule.inherited_steps
    batches = _batches(model, loader, range(inherited + start, inherited + schedule.steps))
    model.train()
    with contextlib.closing(batches):
        for step in range(start, schedule.steps):
            lr = optimiser.param_groups[0]["lr"]
            with flush_denormals():
                result = train_step(model, batches, optimiser, objective, schedule.at(step))
            learning_rate.step()
            done = step + 1
            meter.skipped.update(result.skipped)
            if step == start or schedule.is_reported(done):
                report = meter.report(done, lr, result)
                history.append(log, report)
                with meter.paused():  # the consumer may score a rung, or wait for the driver
                    yield report
            if schedule.is_saved(done):
                save_checkpoint(checkpoint, model, optimiser, {"step": inherited + done})
            else:
                _check_deadline(schedule, done, meter.seconds)


def _load(
    model: MultiTaskModel,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    own_checkpoint: Path | None,
) -> int:
    """Load what a training resumes or inherits, and return how many of its steps are done."""
    if own_checkpoint is not None and own_checkpoint.is_dir():
        saved = int(load_checkpoint(own_checkpoint, model, optimiser)["step"])
        return saved - schedule.inherited_steps
    if schedule.inherits:
        try:
            inherit_checkpoint(schedule.inherits.checkpoint, model, optimiser)
        except UserError as error:  # no failure of this training
            raise RunError(f"cannot be continued: {error}") from error
    return 0


def _check_deadline(schedule: Schedule, done: int, seconds: float) -> None:
    limit = schedule.deadline_seconds
    if limit and seconds > limit:
        raise TrainingFailedError(
            f"past its deadline of {limit:g} s at step {done} of {schedule.steps}"
        )


def _batches(
    model: MultiTaskModel, loader: ClipLoader, steps: range
) -> Generator[ClipBatch, None, None]:
    accumulate = model.space.training.accumulate
    start, stop = steps.start * accumulate, steps.stop * accumulate
    return loader.prefetch(start, stop, pinned=next(model.parameters()).is_cuda)


class _Meter:
    """Counts clips, seconds, data waits and CPU time since a training started or resumed."""

    def __init__(self, loader: ClipLoader, start: int, clips_per_step: int) -> None:
        self.skipped: Counter[str] = Counter()
        self._loader = loader
        self._start = start
        self._clips_per_step = clips_per_step
        self._began = time.monotonic()
        self._waited = loader.wait_seconds  # of earlier trials in a warm worker
        self._cpu = CpuMeter()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent inside from the training's speed and from its deadline."""
        since = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - since

    def report(self, done: int, lr: float, result: StepResult) -> StepReport:
        seconds = max(self.seconds, 1e-9)
        return StepReport(
            step=done,
            total=float(result.total.detach()),
            lr=lr,
            grad_norm=float(result.grad_norm),
            seconds=seconds,
            clips_per_second=(done - self._start) * self._clips_per_step / seconds,
            data_wait=(self._loader.wait_seconds - self._waited) / seconds,
            loss=_floats(result.losses),
            weighted=_floats(result.weighted),
            skipped=dict(self.skipped),
            conflict=result.conflict,
            cpu_share=self._cpu.share(),
        )


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in values.items()}


def _not_finite(step: int, batch: BatchLosses) -> str:
    name = history.first_not_finite(_floats(batch.losses))
    culprit = f"the loss of {name}" if name else "the gradient"
    return f"{culprit} is not finite at step {step + 1}"
