"""A whole search: gradient scales, controls, trials, re-runs, verdict and winners.

The study's journal, `run.yaml` and the folders of finished trainings are the only state. A search
that was killed anywhere skips what is done, and proposes what it would have proposed.
"""

from pathlib import Path

from evossl.cluster.final_phase import SearchOutcome, finish_search
from evossl.cluster.job import run_in_context
from evossl.cluster.run import TrialsPlan, run_trials
from evossl.cluster.scales import with_gradient_scales
from evossl.cluster.search_job import Reporter, SearchJob, SearchPlan
from evossl.cluster.session import Session
from evossl.errors import RunError
from evossl.experiment.context import RunSpec
from evossl.experiment.controls import NUM_CONTROLS, score_controls
from evossl.experiment.run_folder import RunInfo
from evossl.experiment.terms import search_genotype
from evossl.search.forecast import forecast
from evossl.search.study import Study
from evossl.search.table import TrialRow, write_table
from evossl.training.resolved_space import resolve_space


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
    info = with_gradient_scales(folder, info, session, reporter)
    search = SearchJob(RunSpec.of(folder, info), space, plan, session, reporter)
    with _open_study(folder, info) as study:
        _announce(search, study)
        _add_controls(search, study)
        write_table(folder / "trials.parquet", study.rows())
        best = _run_trials(search, study)
        return finish_search(search, best, study.rows())


def _announce(search: SearchJob, study: Study) -> None:
    """Say what the search will do with its budget."""
    plan, num_reruns = search.plan, sum(search.plan.round_sizes)
    for sentence in forecast(study.sampler, study.genotype, plan.num_new, num_reruns):
        search.reporter.message(sentence)
    total = plan.trials * plan.steps if study.genotype.evolves else plan.steps
    search.reporter.message(
        f"{total:,} training steps in trials of {plan.steps:,}, then {plan.final_steps:,} steps "
        "each for the winner and equal weights"
    )
    if (seconds := search.forecast_seconds(study.genotype)) is not None:
        search.reporter.message(f"about {describe_duration(seconds)}, by the speed of the pilot")
    if plan.passes or plan.final_passes:
        search.reporter.message(
            "these are steps of equal weights; with budget.passes, cheaper losses train for more"
        )


def describe_duration(seconds: float) -> str:
    """Return a duration in minutes or hours, for people."""
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} hours"


def _open_study(folder: Path, info: RunInfo) -> Study:
    space = info.parsed_space
    tasks_folder = Path(info.tasks_folder) if info.tasks_folder else None
    genotype = search_genotype(resolve_space(space, tasks_folder))
    if (folder / "study.journal").exists():
        return Study.resume(folder, genotype, space.sampler, info.seed)
    return Study.create(folder, genotype, space.sampler, info.seed)


def _add_controls(search: SearchJob, study: Study) -> None:
    """Score the controls, unless the study has them all."""
    existing = {row.name for row in study.rows() if row.status == "control"}
    if len(existing) == NUM_CONTROLS:
        return
    resources = search.session.divide_cpus(search.space.resources, num_jobs=1)
    title = "scoring the controls: random inits, noise, blobs, colours"
    with search.reporter.progress_bar(title) as progress:
        controls = run_in_context(score_controls, resources, search.run, progress=progress)
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


def _run_trials(search: SearchJob, study: Study) -> list[TrialRow]:
    """Run the trials that are left, and return the best ones.

    Raises:
        RunError: every trial failed.
    """
    plan, reporter = search.plan, search.reporter
    num_best = max([plan.top, *plan.round_sizes])
    trials = TrialsPlan(
        template=search.template,
        num_trials=plan.num_new if study.genotype.evolves else 1,
        resources=search.space.resources,
        stopping=search.space.stopping,
        num_best=num_best,
        sized=search.sized,
    )
    with reporter.progress_bar(f"searching, {trials.num_trials} trials") as progress:
        run_trials(
            study,
            trials,
            search.session,
            on_row=lambda row: reporter.message(describe_row(row)),
            progress=progress,
            warn=reporter.message,
        )
    best = study.best(num_best)
    if not best:
        reasons = {str(row.reason) for row in study.rows() if row.status == "failed"}
        raise RunError(f"every trial failed: {'; '.join(sorted(reasons))}")
    return best


def describe_row(row: TrialRow) -> str:
    """Return one line about a trial that has ended."""
    if row.status == "at_chance":
        return f"trial {row.trial}: {row.reason}"
    if row.fitness is None:
        return f"trial {row.trial}: {row.status}: {row.reason}"
    if row.status == "pruned":
        return f"trial {row.trial}: fitness {row.fitness:.3f} nats, {row.reason}"
    return f"trial {row.trial}: fitness {row.fitness:.3f} nats in {row.seconds:.0f} s"
