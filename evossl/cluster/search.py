"""A whole search: scales, controls, trials, verdict, winners. Every part is skipped if it is done.

The study's journal and `run.yaml` are the state; a search that was killed anywhere goes on from
them and proposes what it would have proposed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from evossl.cluster.finals import run_finals
from evossl.cluster.job import run_on_worker
from evossl.cluster.run import run_trials
from evossl.cluster.session import Session
from evossl.config import Resources, Stopping
from evossl.errors import RunError
from evossl.experiment.context import RunSpec, measure_run
from evossl.experiment.controls import NUM_CONTROLS, score_controls
from evossl.experiment.run_folder import RunInfo, write_run
from evossl.experiment.terms import resolve_terms, search_genotype, space_tasks
from evossl.experiment.trial import TrialSpec
from evossl.experiment.winner import (
    Verdict,
    export_winner,
    fall_back,
    judge,
    rerun_spec,
    winner_spec,
)
from evossl.search.study import Study
from evossl.search.table import TrialRow, write_table
from evossl.task_loader import load_catalogue

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
REPORTS_PER_TRIAL = 20


@dataclass(frozen=True)
class SearchPlan:
    """How much is searched: trials and steps; `top` winners of `final_steps`; `repeats` re-runs."""

    trials: int
    steps: int
    final_steps: int
    top: int = 1
    repeats: int = 0


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found: the verdict on the best trial, and the winners' encoder folders."""

    verdict: Verdict
    encoders: list[Path]


def run_search(
    folder: Path,
    info: RunInfo,
    plan: SearchPlan,
    session: Session,
    *,
    bar: Bar,
    say: Callable[[str], None],
) -> SearchOutcome:
    """Search in `folder`, which `run_folder.open_run` has claimed and whose videos are cached.

    Args:
        folder: of the run.
        info: what `run.yaml` says.
        plan: how much.
        session: the connected Ray.
        bar: opens a progress bar.
        say: prints a line.

    Raises:
        RunError: no trial came through, a worker died again and again, the disk is full.
        UserError: a term that cannot be weighed; a trial that asks for more than this machine has;
            another search is in the folder.
    """
    space = info.parsed_space()
    resources = space.resources
    session.check(resources)
    alone = session.shares(resources, 1)
    info = _measured(folder, info, alone, bar)
    run = RunSpec.of(folder, info)
    with _open_study(folder, info) as study:
        _add_controls(study, run, alone, bar)
        write_table(folder / "trials.parquet", study.rows())
        template = _template(run, plan, space.stopping)
        num_trials = plan.trials if study.genotype.evolves else 1
        with bar(f"searching, {num_trials} trials") as advance:
            run_trials(
                study,
                template,
                num_trials,
                session,
                resources,
                stopping=space.stopping,
                keep=plan.top,
                on_row=lambda row: say(describe(row)),
                on_steps=advance,
            )
        best = study.best(plan.top)
        if not best:
            reasons = {row.reason for row in study.rows() if row.status == "failed"}
            raise RunError(f"every trial failed: {'; '.join(sorted(map(str, reasons)))}")
        reruns = _rerun(best[0], template, plan, session, resources, bar)
        verdict = judge(study.rows(), best[0], reruns)
        say(verdict.line)
        encoders = _train_winners(best, template, plan, verdict, session, resources, bar, say)
    return SearchOutcome(verdict, encoders)


def _measured(folder: Path, info: RunInfo, alone: Resources, bar: Bar) -> RunInfo:
    """What `run.yaml` says, with the gradient scales that all trials share."""
    if info.scales:
        return info
    with bar("measuring each loss's gradient scale") as advance:
        scales = run_on_worker(measure_run, alone, RunSpec.of(folder, info), progress=advance)
    info = info.with_scales(scales)
    write_run(folder, info)
    return info


def _template(run: RunSpec, plan: SearchPlan, stopping: Stopping) -> TrialSpec:
    every = max(1, plan.steps // REPORTS_PER_TRIAL)
    rungs = stopping.steps(plan.steps, every)
    return TrialSpec(0, {}, run, plan.steps, log_every=every, rungs=rungs)


def _open_study(folder: Path, info: RunInfo) -> Study:
    space = info.parsed_space()
    catalogue = load_catalogue(Path(info.tasks_folder) if info.tasks_folder else None)
    tasks = space_tasks(space, catalogue)
    genotype = search_genotype(space, resolve_terms(space, tasks), tasks)
    if (folder / "study.journal").exists():
        return Study.resume(folder, genotype, space.sampler, info.seed)
    return Study.create(folder, genotype, space.sampler, info.seed)


def _add_controls(study: Study, run: RunSpec, resources: Resources, bar: Bar) -> None:
    there = {row.name for row in study.rows() if row.status == "control"}
    if len(there) == NUM_CONTROLS:
        return
    with bar("scoring the controls: random inits, noise, blobs, colours") as advance:
        controls = run_on_worker(score_controls, resources, run, progress=advance)
    for control in controls:
        if control.name not in there:  # a kill may have come between two of them
            study.add_control(
                control.name, control.fitness, control.reason, control.indicators, control.seconds
            )


def _rerun(
    best: TrialRow,
    template: TrialSpec,
    plan: SearchPlan,
    session: Session,
    resources: Resources,
    bar: Bar,
) -> list[float]:
    """Fitness of the best weights under other seeds."""
    specs = [rerun_spec(template, best, repeat + 1) for repeat in range(plan.repeats)]
    if not specs:
        return []
    with bar(f"re-running trial {best.trial} with other seeds: {plan.repeats}") as advance:
        results = run_finals(specs, session, resources, advance)
    return [result.fitness for result in results if result.fitness is not None]


def _train_winners(
    best: list[TrialRow],
    template: TrialSpec,
    plan: SearchPlan,
    verdict: Verdict,
    session: Session,
    resources: Resources,
    bar: Bar,
    say: Callable[[str], None],
) -> list[Path]:
    """Train the best longer and export them; where that fails, the trial's own encoder."""
    run = template.run
    specs = [winner_spec(run, row, plan.final_steps, rank) for rank, row in enumerate(best)]
    share = session.shares(resources, len(specs))
    winners = "the winner" if len(specs) == 1 else f"the best {len(specs)} trials"
    with bar(f"training {winners}, {plan.final_steps} steps") as advance:
        results = run_finals(specs, session, share, advance)
    encoders = []
    for row, spec, result in zip(best, specs, results, strict=True):
        fallback = None
        if result.fitness is None:
            fallback = fall_back(spec, result, row, template)
            say(fallback.warning)
        encoders.append(export_winner(spec, result, verdict, fallback))
    return encoders


def describe(row: TrialRow) -> str:
    """One line for a trial that ended."""
    if row.fitness is None:
        return f"trial {row.trial}: {row.status}: {row.reason}"
    if row.status == "pruned":
        return f"trial {row.trial}: fitness {row.fitness:.3f} nats, {row.reason}"
    return f"trial {row.trial}: fitness {row.fitness:.3f} nats in {row.seconds:.0f} s"
