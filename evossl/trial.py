"""A trial: one training under given loss weights, scored without labels. It knows no ray.

    result = run_trial(TrialSpec(number=0, weights={"simclr.rgb": 1.0, ...}, run=run))

Plain data in, plain data out: both sides of a process border need no more than this module.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from evossl.config import SearchSpace
from evossl.encoders import Encoder, build_encoder
from evossl.errors import RunError
from evossl.files import write_json
from evossl.fitness import Score, ScoringFeatures, score
from evossl.seeds import derive_seed
from evossl.streams import Stream
from evossl.task import Term, load_catalogue
from evossl.training.checkpoint import load_encoder_state
from evossl.training.data import RunData, open_data
from evossl.training.features import calibrate, scoring_features
from evossl.training.history import StepReport
from evossl.training.loop import Schedule, TrainingFailedError, Weighing, train
from evossl.training.model import MultiTaskModel
from evossl.training.scales import NUM_BATCHES, measure_scales
from evossl.training.terms import active_weights, resolve_terms
from evossl.views.make import ViewSettings

EXAMPLES_PER_CLUSTER = 8


@dataclass(frozen=True)
class RunSpec:
    """What all trials of a run share: plain data.

    Attributes:
        space: the resolved search space, as JSON.
        manifest: path of the index. cache: folder of the clip cache. folder: the run's own.
        seed: of initial weights, data order and views: common random numbers of all trials.
        tasks_folder: a user's own tasks, or None.
        device: "cpu", "cuda", or None for a GPU where there is one.
        scales: gradient scale of every term; empty before they are measured.
    """

    space: str
    manifest: str
    cache: str
    folder: str
    seed: int
    tasks_folder: str | None = None
    device: str | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


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
    """

    number: int
    weights: Mapping[str, float]
    run: RunSpec
    steps: int
    folder: str | None = None
    seed: int | None = None
    log_every: int = 10
    resume: bool = False


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
class _Bench:
    """A run's space, terms and open data, in this process."""

    space: SearchSpace
    terms: tuple[Term, ...]
    data: RunData
    settings: ViewSettings
    device: torch.device

    @classmethod
    def open(cls, run: RunSpec) -> "_Bench":
        space = SearchSpace.model_validate_json(run.space)
        tasks = load_catalogue(_path(run.tasks_folder))
        data = open_data(Path(run.manifest), Path(run.cache), run.space, run.seed)
        terms = resolve_terms(space, tasks)
        return cls(space, terms, data, ViewSettings.of(space), pick_device(run.device))


def pick_device(name: str | None) -> torch.device:
    """Return the named device, or a GPU where there is one."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"device {name!r}: this process sees no GPU; use --device cpu")
    return torch.device(name)


def run_trial(
    spec: TrialSpec, on_report: Callable[[StepReport], None] | None = None
) -> TrialResult:
    """Train, calibrate BatchNorm, score; a trial's own failure is a result, not an exception.

    Args:
        spec: the trial.
        on_report: called with each logged step; may raise to stop the trial.

    Raises:
        UserError: weights that do not fit the space.
        RunError: the machine's fault (a full disk, no such device), not the trial's.
    """
    began = time.monotonic()
    last: list[StepReport] = []

    def report(step: StepReport) -> None:
        last[:] = [step]
        if on_report:
            on_report(step)

    def result(fitness: float | None, reason: str | None, scored: Score | None) -> TrialResult:
        return TrialResult(
            number=spec.number,
            fitness=fitness,
            reason=reason,
            seconds=time.monotonic() - began,
            indicators=dict(scored.indicators) if scored else {},
            clips_per_second=last[0].clips_per_second if last else 0.0,
            data_wait=last[0].data_wait if last else 0.0,
        )

    try:
        scored = _train_and_score(spec, report)
    except TrainingFailedError as error:
        return result(None, str(error), None)
    except (MemoryError, torch.OutOfMemoryError):
        return result(None, "out of memory: lower training.batch_size or clip.size", None)
    return result(scored.fitness, scored.reason, scored)


def _train_and_score(spec: TrialSpec, on_report: Callable[[StepReport], None]) -> Score:
    bench = _Bench.open(spec.run)
    tasks = load_catalogue(_path(spec.run.tasks_folder))
    training = bench.space.training
    gradient = training.normalize == "gradient"
    on = active_weights(bench.terms, spec.weights, tasks, training.prune_below, rescale=gradient)
    terms = tuple(term for term in bench.terms if term.name in on)
    scales = spec.run.scales if gradient else dict.fromkeys(on, 1.0)
    seed = spec.run.seed if spec.seed is None else spec.seed
    model = MultiTaskModel(terms, tasks, bench.space, seed).to(bench.device)
    if bench.device.type == "cuda":
        model = model.to(memory_format=torch.channels_last_3d)
    schedule = Schedule(
        spec.steps, spec.log_every, deadline_seconds=bench.space.budget.deadline_seconds
    )
    folder = trial_folder(spec)
    weighing = Weighing(on, scales)
    train(
        model,
        bench.data.train,
        bench.space,
        weighing,
        schedule,
        folder,
        resume=spec.resume,
        on_report=on_report,
    )
    encoder = model.encoder(Stream.RGB)
    calibrate(encoder, bench.data.train, bench.settings)
    scored = score(_features(encoder, bench, spec.run), bench.space.fitness, spec.run.seed)
    write_clusters(folder / "clusters.json", scored, bench.data)
    return scored


def trial_folder(spec: TrialSpec) -> Path:
    """Return where a trial writes."""
    return Path(spec.folder or Path(spec.run.folder) / "trials" / str(spec.number))


def load_trained(spec: TrialSpec) -> Encoder:
    """Return the calibrated RGB encoder of a finished trial's checkpoint.

    Raises:
        UserError: no checkpoint, or one of another space.
    """
    bench = _Bench.open(spec.run)
    encoder = build_encoder(Stream.RGB, bench.space.backbone, spec.run.seed).to(bench.device)
    load_encoder_state(trial_folder(spec) / "checkpoint", encoder, Stream.RGB)
    calibrate(encoder, bench.data.train, bench.settings)
    return encoder


def measure_run(
    run: RunSpec, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Return the gradient scale of every term of a run, at the weights that all trials share.

    Raises:
        UserError: a term whose scale is zero or not finite, or that no clip suits.
    """
    bench = _Bench.open(run)
    tasks = load_catalogue(_path(run.tasks_folder))
    if bench.space.training.normalize == "none":
        return {term.name: 1.0 for term in bench.terms}
    batches = (bench.data.train.batch(step).to(bench.device) for step in range(NUM_BATCHES))
    return measure_scales(
        bench.terms, tasks, bench.space, batches, seed=run.seed, progress=progress
    )


def random_init(run: RunSpec, index: int) -> Encoder:
    """Return an untrained RGB encoder, BatchNorm calibrated: the control a trial must beat."""
    bench = _Bench.open(run)
    seed = derive_seed(run.seed, "random init", index)
    encoder = build_encoder(Stream.RGB, bench.space.backbone, seed).to(bench.device)
    calibrate(encoder, bench.data.train, bench.settings)
    return encoder


def _features(encoder: Encoder, bench: _Bench, run: RunSpec) -> ScoringFeatures:
    rows = range(len(bench.data.scored_videos))
    return scoring_features(
        encoder,
        bench.data.scored,
        bench.settings,
        rows,
        seed=derive_seed(run.seed, "score"),
        labels_N=_labels(bench),
    )


def _labels(bench: _Bench) -> Tensor | None:
    """Labels of the scored clips as numbers, -1 for none; only the `labels` fitness reads them."""
    if bench.space.fitness.name != "labels":
        return None
    names = [video.label for video in bench.data.scored_videos]
    classes = {name: i for i, name in enumerate(sorted({n for n in names if n is not None}))}
    return torch.tensor([-1 if name is None else classes[name] for name in names])


def write_clusters(path: Path, scored: Score, data: RunData) -> None:
    """Write the cluster shares and examples of the largest clusters, for the report."""
    if scored.clusters_N is None:
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


def _path(folder: str | None) -> Path | None:
    return Path(folder) if folder else None
