"""A whole search: gradient scales, controls, trials, re-runs, verdict and winners.

The study's journal, `run.yaml` and the folders of finished trainings are the only state. A search
that was killed anywhere skips what is done, and proposes what it would have proposed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evossl.cluster.finals import run_finals
from evossl.cluster.job import run_on_worker
from evossl.cluster.run import TrialsPlan, run_trials
from evossl.cluster.session import Session
from evossl.config import SearchSpace
from evossl.errors import RunError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.controls import NUM_CONTROLS, score_controls
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.run_folder import RunInfo, write_run
from evossl.experiment.terms import search_genotype
from evossl.experiment.trial import TrialSpec
from evossl.experiment.verdict import Verdict, decide_verdict
from evossl.experiment.winner import (
    choose_winner,
    export_winner,
    open_for_export,
    rerun_spec,
    winner_spec,
)
from evossl.search.study import Study
from evossl.search.table import TrialRow, write_table
from evossl.training.resolved_space import resolve_space
from evossl.types import Progress

REPORTS_PER_TRIAL = 20
T = TypeVar("T")


@dataclass(frozen=True)
class SearchPlan:
    """How much to search.

    Attributes:
        trials: number of trials.
        steps: training steps of a trial.
        final_steps: training steps of a winner.
        top: number of winners.
        repeats: number of re-runs of the best trial with other seeds.
    """

    trials: int
    steps: int
    final_steps: int
    top: int = 1
    repeats: int = 0


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found: the verdict on the best trial, and each winner's encoder folder."""

    verdict: Verdict
    encoders: list[Path]


@dataclass(frozen=True)
class Reporter:
    """How a search reports to a person.

    Attributes:
        progress_bar: opens a progress bar with the given title.
        message: prints one line.
    """

    progress_bar: Callable[[str], AbstractContextManager[Progress]]
    message: Callable[[str], None]


@dataclass(frozen=True)
class _Search:
    """What every stage of a search needs; `run` has the gradient scales."""

    run: RunSpec
    space: SearchSpace
    plan: SearchPlan
    session: Session
    reporter: Reporter

    @property
    def template(self) -> TrialSpec:
        """What all trials share; number, weights and genes are filled in for each."""
        steps = self.plan.steps
        log_every = max(1, steps // REPORTS_PER_TRIAL)
        rungs = self.space.stopping.steps(steps, log_every)
        return TrialSpec(0, {}, self.run, steps, log_every=log_every, rungs=rungs)


def run_search(
    folder: Path, info: RunInfo, plan: SearchPlan, session: Session, reporter: Reporter
) -> SearchOutcome:
    """Run a search, or what is left of it, and return what it found.

    Args:
        folder: the run folder, opened by `run_folder.open_run`; its videos are in the clip cache.
        info: what `run.yaml` says.
        plan: how much to search.
        session: the connected Ray.
        reporter: where progress and messages go.

    Raises:
        RunError: every trial failed, a worker died too often, or the disk is full.
        UserError: a term has no gradient, a trial needs more than this machine has, or another
            search uses the folder.
    """
    space = info.parsed_space
    session.check_fits(space.resources)
    info = _with_gradient_scales(folder, info, session, reporter)
    search = _Search(RunSpec.of(folder, info), space, plan, session, reporter)
    with _open_study(folder, info) as study:
        _add_controls(search, study)
        write_table(folder / "trials.parquet", study.rows())
        best = _run_trials(search, study)
        reruns = _rerun_best(search, best[0])
        verdict = decide_verdict(study.rows(), best[0], reruns)
        reporter.message(verdict.line)
        encoders = _train_winners(search, best, verdict)
    return SearchOutcome(verdict, encoders)


def _with_gradient_scales(
    folder: Path, info: RunInfo, session: Session, reporter: Reporter
) -> RunInfo:
    """Return `info` with the gradient scales; measures them once and stores them in `run.yaml`."""
    if info.gradient_scales:
        return info
    resources = session.divide_cpus(info.parsed_space.resources, num_jobs=1)
    run = RunSpec.of(folder, info)
    with reporter.progress_bar("measuring each loss's gradient scale") as progress:
        scales = run_on_worker(_in_context, resources, measure_run, run, progress=progress)
    info = info.with_gradient_scales(scales)
    write_run(folder, info)
    return info


def _in_context(job: Callable[[RunContext, Progress], T], run: RunSpec, progress: Progress) -> T:
    """Open the run's context in this worker, and return `job(context, progress)`."""
    return job(RunContext.open(run), progress)


def _open_study(folder: Path, info: RunInfo) -> Study:
    space = info.parsed_space
    tasks_folder = Path(info.tasks_folder) if info.tasks_folder else None
    genotype = search_genotype(resolve_space(space, tasks_folder))
    if (folder / "study.journal").exists():
        return Study.resume(folder, genotype, space.sampler, info.seed)
    return Study.create(folder, genotype, space.sampler, info.seed)


def _add_controls(search: _Search, study: Study) -> None:
    """Score the controls, unless the study has them all."""
    existing = {row.name for row in study.rows() if row.status == "control"}
    if len(existing) == NUM_CONTROLS:
        return
    resources = search.session.divide_cpus(search.space.resources, num_jobs=1)
    title = "scoring the controls: random inits, noise, blobs, colours"
    with search.reporter.progress_bar(title) as progress:
        controls = run_on_worker(
            _in_context, resources, score_controls, search.run, progress=progress
        )
    for control in controls:
        if control.name not in existing:  # some exist if the driver was killed between two of them
            study.add_control(
                control.kind,
                control.name,
                control.fitness,
                control.reason,
                control.indicators,
                control.seconds,
            )


def _run_trials(search: _Search, study: Study) -> list[TrialRow]:
    """Run the trials that are left, and return the best ones.

    Raises:
        RunError: every trial failed.
    """
    plan, reporter = search.plan, search.reporter
    trials = TrialsPlan(
        template=search.template,
        num_trials=plan.trials if study.genotype.evolves else 1,
        resources=search.space.resources,
        stopping=search.space.stopping,
        num_best=plan.top,
    )
    with reporter.progress_bar(f"searching, {trials.num_trials} trials") as progress:
        run_trials(
            study,
            trials,
            search.session,
            on_row=lambda row: reporter.message(describe_row(row)),
            progress=progress,
        )
    best = study.best(plan.top)
    if not best:
        reasons = {str(row.reason) for row in study.rows() if row.status == "failed"}
        raise RunError(f"every trial failed: {'; '.join(sorted(reasons))}")
    return best


def _rerun_best(search: _Search, best: TrialRow) -> list[float]:
    """Return the fitness of the best weights with other seeds, without re-runs that failed."""
    repeats = search.plan.repeats
    specs = [rerun_spec(search.template, best, repeat + 1) for repeat in range(repeats)]
    if not specs:
        return []
    title = f"re-running trial {best.trial} with other seeds: {repeats}"
    with search.reporter.progress_bar(title) as progress:
        results = run_finals(specs, search.session, search.space.resources, progress)
    return [result.fitness for result in results if result.fitness is not None]


def _train_winners(search: _Search, best: list[TrialRow], verdict: Verdict) -> list[Path]:
    """Train the best trials longer and export them; return the encoder folders."""
    steps = search.plan.final_steps
    specs = [winner_spec(search.run, row, steps, rank) for rank, row in enumerate(best)]
    resources = search.session.divide_cpus(search.space.resources, num_jobs=len(specs))
    winners = "the winner" if len(specs) == 1 else f"the best {len(specs)} trials"
    with search.reporter.progress_bar(f"training {winners}, {steps} steps") as progress:
        results = run_finals(specs, search.session, resources, progress)
    context, encoders = open_for_export(search.run), []
    for row, spec, result in zip(best, specs, results, strict=True):
        winner = choose_winner(spec, result, row, search.template)
        if winner.warning:
            search.reporter.message(winner.warning)
        encoders.append(export_winner(winner, verdict, context))
    return encoders


def describe_row(row: TrialRow) -> str:
    """Return one line about a trial that has ended."""
    if row.fitness is None:
        return f"trial {row.trial}: {row.status}: {row.reason}"
    if row.status == "pruned":
        return f"trial {row.trial}: fitness {row.fitness:.3f} nats, {row.reason}"
    return f"trial {row.trial}: fitness {row.fitness:.3f} nats in {row.seconds:.0f} s"
