"""A trial: one training under given loss weights, scored without labels. Ray is not imported here.

    result = run_trial(TrialSpec(number=0, weights={"simclr.rgb": 1.0, ...}, run=run), context)

A spec and a result are plain data, so they can cross a process border.
"""

import copy
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from evossl.errors import RunError, UserError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.held_out import (
    FEATURES_FILE,
    calibrate,
    held_out_features,
    write_clusters,
    write_features,
)
from evossl.experiment.selected_checkpoint import CHECKPOINT, SelectedCheckpoint, best_step
from evossl.experiment.terms import active_weights
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import Score, score
from evossl.genes import GeneValue
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.checkpoint import load_encoder_state
from evossl.training.history import StepReport
from evossl.training.loop import TrainingFailedError, train
from evossl.training.memory_use import OUT_OF_MEMORY, is_out_of_memory
from evossl.training.model import MultiTaskModel, channels_last
from evossl.training.objective import Objective
from evossl.training.schedule import Inheritance, Part, Schedule
from evossl.types import Progress, Stream

OnScoring = Callable[[], Progress]
"""Called when a trial's scoring begins; returns the callback for (clips done, clips in total)."""


@dataclass(frozen=True)
class TrialSpec:
    """One genotype to be trained, as plain data.

    Attributes:
        number: of the trial; its folder is `trials/<number>`.
        weights: lambda of every term, as proposed.
        run: what it shares with the run's other trials.
        steps: optimiser steps.
        folder: where it writes; None is the run's `trials/<number>`.
        seed: None is the run's; re-runs that measure the noise have another one.
        log_every: steps between two reports.
        resume: continue from the folder's checkpoint, if there is one.
        save_every: steps between two checkpoints; None saves only at the end.
        rungs: reported steps at which the trial is scored on its way, for early stopping.
        keep_best: keep the encoder of the best score, at a rung or at the end, in `selected/`; the
            result is then that of the best score.
        parent: number of the trial whose checkpoint it starts from; None is the initial weights.
        part: which part of a longer training it is.
        genes: values of the genes other than weights; those left out have their defaults.
    """

    number: int
    weights: Mapping[str, float]
    run: RunSpec
    steps: int
    folder: str | None = None
    seed: int | None = None
    log_every: int = 10
    resume: bool = False
    save_every: int | None = None
    rungs: tuple[int, ...] = ()
    keep_best: bool = False
    parent: int | None = None
    part: Part = "whole"
    genes: Mapping[str, GeneValue] = field(default_factory=dict)

    def inheriting(self, parent: int | None) -> "TrialSpec":
        """Return the same trial as a later segment of a population's member, if it has a parent."""
        return self if parent is None else replace(self, parent=parent, part="middle")


@dataclass(frozen=True)
class TrialResult:
    """A trial's fitness in nats (lower is better), or the reason why it has none.

    `at_chance` says that the encoder was scored, but agrees with itself no better than chance.
    """

    number: int
    fitness: float | None
    reason: str | None
    seconds: float
    indicators: Mapping[str, float]
    clips_per_second: float = 0.0
    data_wait: float = 0.0
    at_chance: bool = False


@dataclass(frozen=True)
class RungResult:
    """The result that a trial would have if it were stopped at a rung (1, 2, ...)."""

    rung: int
    step: int
    result: TrialResult


def rung_indicator(rung: int) -> str:
    """Return the name of the indicator that holds a trial's fitness at a rung (1, 2, ...)."""
    return f"rung{rung}"


def run_trial(
    spec: TrialSpec,
    context: RunContext,
    on_report: Callable[[StepReport], None] | None = None,
    on_scoring: OnScoring | None = None,
) -> TrialResult:
    """Train, calibrate BatchNorm and score. A trial's own failure is a result, not an exception.

    Args:
        spec: the trial.
        context: opened from `spec.run`.
        on_report: called with each logged step; it may raise to stop the trial.
        on_scoring: called when the training is over.

    Raises:
        UserError: the weights or genes do not fit the space.
        RunError: a fault of the machine (such as a full disk), not of the trial.
    """
    steps = iterate_trial(spec, context, on_scoring)
    while True:
        try:
            report = next(steps)
        except StopIteration as stop:
            result: TrialResult = stop.value
            return result
        if on_report and isinstance(report, StepReport):
            on_report(report)


def iterate_trial(
    spec: TrialSpec, context: RunContext, on_scoring: OnScoring | None = None
) -> Generator[StepReport | RungResult, None, TrialResult]:
    """Run a trial as a generator: it yields logged steps and rungs, and returns the result."""
    trial = _Trial(spec, context)
    try:
        student = yield from trial.train()
        return trial.score(student, on_scoring)
    except TrainingFailedError as error:
        return trial.result(None, str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return trial.result(None, OUT_OF_MEMORY)


class _Trial:
    """A running trial: what it has trained so far, and what it scored at its rungs."""

    def __init__(self, spec: TrialSpec, context: RunContext) -> None:
        self._spec = spec
        self._context = context
        self._began = time.monotonic()
        self._last: StepReport | None = None
        self._at_rungs: dict[str, float] = {}
        self._selected = (
            SelectedCheckpoint(trial_folder(spec), spec.resume) if spec.keep_best else None
        )

    def result(self, scored: Score | None, reason: str | None) -> TrialResult:
        """Return the trial's result as of now."""
        return TrialResult(
            number=self._spec.number,
            fitness=scored.fitness if scored else None,
            reason=reason,
            seconds=time.monotonic() - self._began,
            indicators=(dict(scored.indicators) if scored else {}) | self._at_rungs,
            clips_per_second=self._last.clips_per_second if self._last else 0.0,
            data_wait=self._last.data_wait if self._last else 0.0,
            at_chance=scored is not None and scored.is_at_chance,
        )

    def train(self) -> Generator[StepReport | RungResult, None, Encoder]:
        """Train the active terms, score the encoder at each rung, and return it."""
        spec = self._spec
        model, steps = _prepare(spec, self._context)
        student = model.encoder(Stream.RGB)
        with closing(steps):
            for report in steps:
                self._last = report
                yield report
                if report.step in spec.rungs:
                    # A copy: calibrating its BatchNorm must not change the training.
                    yield self._rung(copy.deepcopy(student), report.step)
        return student

    def _rung(self, student: Encoder, step: int) -> RungResult:
        rung = self._spec.rungs.index(step) + 1
        scored, features = _score(student, self._spec, self._context)
        if self._selected:
            self._offer(step, scored, features, student)
        elif scored.fitness is not None:
            self._at_rungs[rung_indicator(rung)] = scored.fitness
        reason = scored.reason or f"stopped early at step {step} of {self._spec.steps}"
        return RungResult(rung, step, self.result(scored, reason))

    def score(self, student: Encoder, on_scoring: OnScoring | None) -> TrialResult:
        """Score the trained encoder, and write the selection clips' features and clusters."""
        scored, features = _score(student, self._spec, self._context, on_scoring)
        if not self._selected:
            self._write(scored, features)
            return self.result(scored, scored.reason)
        self._offer(self._spec.steps, scored, features, student)
        result, best = self.result(scored, scored.reason), best_step(self._selected.scores)
        if best is None:  # the last step stands for a training that was at chance throughout
            self._write(scored, features)
            return result
        indicators = dict(best.indicators)
        return replace(
            result, fitness=best.fitness, reason=None, indicators=indicators, at_chance=False
        )

    def _offer(self, step: int, scored: Score, features: ScoringFeatures, student: Encoder) -> None:
        """Keep the encoder, its features and clusters, if its score is the best so far."""
        assert self._selected is not None
        if self._selected.offer(step, scored, student):
            self._write(scored, features)

    def _write(self, scored: Score, features: ScoringFeatures) -> None:
        folder, held_out = trial_folder(self._spec), self._context.data.selection
        paths = [video.path for video in held_out.videos]
        write_features(folder / FEATURES_FILE, features.clean_ND, paths)
        write_clusters(folder / "clusters.json", scored, held_out)


def _prepare(
    spec: TrialSpec, context: RunContext
) -> tuple[MultiTaskModel, Generator[StepReport, None, None]]:
    """Return a model of the active terms, and its training, which has not started yet.

    The genes apply to the training alone: the scoring uses the run's own space.
    """
    resolved = context.resolved.with_genes(spec.genes)
    weights = active_weights(resolved, spec.weights)
    seed = spec.run.seed if spec.seed is None else spec.seed
    model = MultiTaskModel(resolved.select(weights), seed).to(context.device)
    if context.device.type == "cuda":
        channels_last(model)
    steps = train(
        model,
        context.data.train,
        Objective(weights, spec.run.gradient_scales),
        Schedule(
            spec.steps,
            spec.log_every,
            spec.save_every,
            deadline_seconds=_deadline(spec, context),
            part=spec.part,
            inherits=_inheritance(spec),
        ),
        trial_folder(spec),
        resume=spec.resume,
    )
    return model, steps


def inherited_steps(spec: TrialSpec) -> int:
    """Return how many steps its parents trained before a trial; see `TrialSpec.parent`.

    Raises:
        RunError: its parent's checkpoint is missing or damaged.
    """
    inherits = _inheritance(spec)
    return inherits.step if inherits else 0


def _inheritance(spec: TrialSpec) -> Inheritance | None:
    """Return what a trial inherits.

    Raises:
        RunError: its parent's checkpoint is missing or damaged. That is no failure of the trial.
    """
    if spec.parent is None:
        return None
    try:
        return Inheritance.of(Path(spec.run.folder) / "trials" / str(spec.parent) / "checkpoint")
    except UserError as error:
        raise RunError(
            f"trial {spec.number} continues trial {spec.parent}, whose checkpoint is needed: "
            f"{error}; restore it from a copy, or start a new search"
        ) from error


def _deadline(spec: TrialSpec, context: RunContext) -> float | None:
    """Seconds that the training may take: the budget's, or more in proportion to its steps."""
    budget = context.space.budget
    if budget.deadline_seconds is None:
        return None
    return budget.deadline_seconds * max(1.0, spec.steps / budget.steps)


def _score(
    encoder: Encoder, spec: TrialSpec, context: RunContext, on_scoring: OnScoring | None = None
) -> tuple[Score, ScoringFeatures]:
    """Calibrate BatchNorm on clean training clips, and score the selection clips."""
    calibrate(encoder, context.data.train, context.settings)
    progress = on_scoring() if on_scoring else None
    features = held_out_features(encoder, context, context.data.selection, progress)
    try:
        return score(features, context.space.fitness, spec.run.seed), features
    except UserError as error:  # the user's own fitness function failed on these features
        raise TrainingFailedError(str(error)) from error


def trial_folder(spec: TrialSpec) -> Path:
    """Return the folder that a trial writes to."""
    return Path(spec.folder or Path(spec.run.folder) / "trials" / str(spec.number))


def load_trained(spec: TrialSpec, context: RunContext) -> Encoder:
    """Return the RGB encoder that a finished trial's result is of, with BatchNorm calibrated.

    Raises:
        UserError: there is no checkpoint, or it is one of another space.
    """
    return load_encoder_from(checkpoint_folder(spec), context)


def checkpoint_folder(spec: TrialSpec) -> Path:
    """Return the folder of the weights that a finished trial's result is of."""
    selected = trial_folder(spec) / CHECKPOINT
    return selected if spec.keep_best and selected.is_dir() else selected.with_name("checkpoint")


def load_encoder_from(checkpoint: Path, context: RunContext) -> Encoder:
    """Return the RGB encoder of a checkpoint, with BatchNorm calibrated.

    Raises:
        UserError: there is no checkpoint, or it is one of another space.
    """
    encoder = build_encoder(Stream.RGB, context.space.backbone, seed=0).to(context.device)
    load_encoder_state(checkpoint, encoder, Stream.RGB)
    calibrate(encoder, context.data.train, context.settings)
    return encoder
