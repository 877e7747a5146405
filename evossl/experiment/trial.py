"""A trial: one training under given loss weights, scored without labels. Ray is not imported here.

    result = run_trial(TrialSpec(number=0, weights={"simclr.rgb": 1.0, ...}, run=run), context)

It fails only for its own reasons; a fault of the machine is raised.
"""

import copy
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from evossl.errors import RunError, UserError
from evossl.experiment.context import RunContext
from evossl.experiment.held_out import (
    FEATURES_FILE,
    calibrate,
    held_out_features,
    write_clusters,
    write_features,
)
from evossl.experiment.passes import count_passes
from evossl.experiment.selected_checkpoint import SelectedCheckpoint, best_step
from evossl.experiment.terms import active_weights
from evossl.experiment.trial_spec import (
    RungResult,
    TrialResult,
    TrialSpec,
    checkpoint_folder,
    rung_indicator,
    trial_folder,
)
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import Score, score
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.checkpoint import load_encoder_state
from evossl.training.history import StepReport
from evossl.training.loop import TrainingFailedError, train
from evossl.training.memory_use import OUT_OF_MEMORY, is_out_of_memory
from evossl.training.model import MultiTaskModel, channels_last
from evossl.training.objective import Objective
from evossl.training.schedule import Inheritance, Schedule
from evossl.types import Progress, Stream

OnScoring = Callable[[], Progress]
"""Called when a trial's scoring begins; returns the callback for (clips done, clips in total)."""


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
        self._passes_per_step = 0.0
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
            indicators=self._indicators(scored),
            clips_per_second=self._last.clips_per_second if self._last else 0.0,
            data_wait=self._last.data_wait if self._last else 0.0,
            at_chance=scored is not None and scored.is_at_chance,
        )

    def _indicators(self, scored: Score | None) -> dict[str, float]:
        """Return what was measured of the encoder, at the rungs, and what it cost so far."""
        steps = self._last.step if self._last else 0
        cost = {"steps": float(steps), "passes": steps * self._passes_per_step}
        return (dict(scored.indicators) if scored else {}) | self._at_rungs | cost

    def train(self) -> Generator[StepReport | RungResult, None, Encoder]:
        """Train the active terms, score the encoder at each rung, and return it."""
        spec = self._spec
        model, steps = _prepare(spec, self._context)
        student = model.encoder(Stream.RGB)
        self._passes_per_step = count_passes(model.plan.forwards, model.space)
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
        cost = {name: result.indicators[name] for name in ("steps", "passes")}
        indicators = dict(best.indicators) | cost
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
    if spec.passes and budget.passes:
        return budget.deadline_seconds * max(1.0, spec.passes / budget.passes)
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


def load_trained(spec: TrialSpec, context: RunContext) -> Encoder:
    """Return the RGB encoder that a finished trial's result is of, with BatchNorm calibrated.

    Raises:
        UserError: there is no checkpoint, or it is one of another space.
    """
    return load_encoder_from(checkpoint_folder(spec), context)


def load_encoder_from(checkpoint: Path, context: RunContext) -> Encoder:
    """Return the RGB encoder of a checkpoint, with BatchNorm calibrated.

    Raises:
        UserError: there is no checkpoint, or it is one of another space.
    """
    encoder = build_encoder(Stream.RGB, context.space.backbone, seed=0).to(context.device)
    load_encoder_state(checkpoint, encoder, Stream.RGB)
    calibrate(encoder, context.data.train, context.settings)
    return encoder
