"""A trial: one training under given loss weights, scored without labels. It knows no ray.

    result = run_trial(TrialSpec(number=0, weights={"simclr.rgb": 1.0, ...}, run=run))

Plain data in, plain data out: both sides of a process border need no more than this module.
"""

import copy
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from evossl.errors import UserError
from evossl.experiment.context import RunContext, RunSpec, features_of
from evossl.experiment.held_out import FEATURES, calibrate, write_features
from evossl.experiment.split import RunData
from evossl.experiment.terms import active_weights
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import Score, score
from evossl.io.files import write_json
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.checkpoint import load_encoder_state
from evossl.training.history import StepReport
from evossl.training.loop import Objective, Schedule, TrainingFailedError, train
from evossl.training.memory_use import OUT_OF_MEMORY, is_out_of_memory
from evossl.training.model import MultiTaskModel, channels_last
from evossl.types import Stream

EXAMPLES_PER_CLUSTER = 8

OnScoring = Callable[[], Callable[[int, int], None]]


@dataclass(frozen=True)
class TrialSpec:
    """One genotype to be trained: plain data.

    Attributes:
        number: the trial's; its folder is `trials/<number>`.
        weights: lambda of every term, as proposed.
        run: what it shares with the others.
        steps: optimiser steps.
        folder: where it writes; None is the run's `trials/<number>`.
        seed: None is the run's; another one for re-runs that measure the noise.
        log_every: steps between two reports.
        resume: go on from the folder's checkpoint, if there is one.
        save_every: steps between two checkpoints; None saves at the end only.
        rungs: reported steps at which it is scored on its way.
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


@dataclass(frozen=True)
class TrialResult:
    """What came of it: a fitness in nats (lower is better), or the reason why there is none."""

    number: int
    fitness: float | None
    reason: str | None
    seconds: float
    indicators: Mapping[str, float]
    clips_per_second: float = 0.0
    data_wait: float = 0.0


@dataclass(frozen=True)
class RungResult:
    """What a trial would come to if it were cut short at a rung (1, 2, ...), after `step` steps."""

    rung: int
    step: int
    result: TrialResult


def rung_indicator(rung: int) -> str:
    """Return the indicator that holds a trial's fitness at a rung (1, 2, ...)."""
    return f"rung{rung}"


def run_trial(
    spec: TrialSpec,
    on_report: Callable[[StepReport], None] | None = None,
    on_scoring: OnScoring | None = None,
) -> TrialResult:
    """Train, calibrate BatchNorm, score; a trial's own failure is a result, not an exception.

    Args:
        spec: the trial.
        on_report: called with each logged step; may raise to stop the trial.
        on_scoring: called when the training is over; what it returns is called with (clips done,
            clips to be scored).

    Raises:
        UserError: weights that do not fit the space.
        RunError: the machine's fault (a full disk, no such device), not the trial's.
    """
    steps = iterate_trial(spec, on_scoring)
    while True:
        try:
            report = next(steps)
        except StopIteration as stop:
            result: TrialResult = stop.value
            return result
        if on_report and isinstance(report, StepReport):
            on_report(report)


def iterate_trial(
    spec: TrialSpec, on_scoring: OnScoring | None = None
) -> Generator[StepReport | RungResult, None, TrialResult]:
    """`run_trial` as a generator: yields logged steps and rungs, returns the result."""
    began = time.monotonic()
    last: StepReport | None = None
    scored, reason = None, None
    at_rungs: dict[str, float] = {}

    def result() -> TrialResult:
        return TrialResult(
            number=spec.number,
            fitness=scored.fitness if scored else None,
            reason=reason,
            seconds=time.monotonic() - began,
            indicators=(dict(scored.indicators) if scored else {}) | at_rungs,
            clips_per_second=last.clips_per_second if last else 0.0,
            data_wait=last.data_wait if last else 0.0,
        )

    try:
        bench = RunContext.open(spec.run)
        model, steps = _prepare(spec, bench)
        student = model.encoder(Stream.RGB)
        with closing(steps):
            for last in steps:
                yield last
                if last.step in spec.rungs:
                    rung = spec.rungs.index(last.step) + 1
                    scored, _ = _score(
                        copy.deepcopy(student), spec, bench
                    )  # its own stays as it is
                    if scored.fitness is not None:
                        at_rungs[rung_indicator(rung)] = scored.fitness
                    reason = scored.reason or f"cut short at step {last.step} of {spec.steps}"
                    yield RungResult(rung, last.step, result())
                    scored, reason = None, None
        scored, features = _score(student, spec, bench, on_scoring)
        reason = scored.reason
        _write_scored(spec, bench, scored, features)
    except TrainingFailedError as error:
        reason = str(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = OUT_OF_MEMORY
    return result()


def _prepare(
    spec: TrialSpec, bench: RunContext
) -> tuple[MultiTaskModel, Generator[StepReport, None, None]]:
    """The model of the terms that are on, and its training, not yet begun."""
    training = bench.space.training
    gradient = training.normalize == "gradient"
    on = active_weights(
        bench.terms, spec.weights, bench.tasks, training.prune_below, rescale=gradient
    )
    terms = tuple(term for term in bench.terms if term.name in on)
    seed = spec.run.seed if spec.seed is None else spec.seed
    deadline = bench.space.budget.deadline_seconds
    if deadline is not None:  # of a trial; a winner's longer training has more in proportion
        deadline *= max(1.0, spec.steps / bench.space.budget.steps)
    model = MultiTaskModel(terms, bench.tasks, bench.space, seed).to(bench.device)
    if bench.device.type == "cuda":
        channels_last(model)
    steps = train(
        model,
        bench.data.train,
        bench.space,
        Objective(on, spec.run.scales),
        Schedule(
            spec.steps,
            spec.log_every,
            spec.save_every,
            deadline_seconds=deadline,
        ),
        trial_folder(spec),
        resume=spec.resume,
    )
    return model, steps


def _score(
    encoder: Encoder, spec: TrialSpec, bench: RunContext, on_scoring: OnScoring | None = None
) -> tuple[Score, ScoringFeatures]:
    """Calibrate BatchNorm on clean clips, score the held-out ones."""
    calibrate(encoder, bench.data.train, bench.settings)
    features = features_of(encoder, spec.run, on_scoring() if on_scoring else None)
    try:
        return score(features, bench.space.fitness, spec.run.seed), features
    except UserError as error:  # a user's own fitness function that fails on these features
        raise TrainingFailedError(str(error)) from error


def _write_scored(
    spec: TrialSpec, bench: RunContext, scored: Score, features: ScoringFeatures
) -> None:
    """Keep the held-out clips' features and their clusters."""
    paths = [video.path for video in bench.data.scored_videos]
    write_features(trial_folder(spec) / FEATURES, features.clean_ND, paths)
    write_clusters(trial_folder(spec) / "clusters.json", scored, bench.data)


def trial_folder(spec: TrialSpec) -> Path:
    """Return where a trial writes."""
    return Path(spec.folder or Path(spec.run.folder) / "trials" / str(spec.number))


def load_trained(spec: TrialSpec) -> Encoder:
    """Return the calibrated RGB encoder of a finished trial's checkpoint.

    Raises:
        UserError: no checkpoint, or one of another space.
    """
    bench = RunContext.open(spec.run)
    encoder = build_encoder(Stream.RGB, bench.space.backbone, spec.run.seed).to(bench.device)
    load_encoder_state(trial_folder(spec) / "checkpoint", encoder, Stream.RGB)
    calibrate(encoder, bench.data.train, bench.settings)
    return encoder


def write_clusters(path: Path, scored: Score, data: RunData) -> None:
    """Write the cluster shares and examples of the largest clusters, for the report."""
    if scored.clusters_N is None or scored.shares_K is None or scored.zipf_K is None:
        return
    order = torch.bincount(scored.clusters_N).argsort(descending=True)[:8]
    examples = [
        [
            {"path": data.scored_videos[row].path, "start": 0.0}
            for row in (scored.clusters_N == cluster).nonzero()[:EXAMPLES_PER_CLUSTER, 0].tolist()
        ]
        for cluster in order
    ]
    shares = {"shares": scored.shares_K.tolist(), "zipf": scored.zipf_K.tolist()}
    write_json(path, shares | {"examples": examples})
