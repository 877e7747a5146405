"""Run trials on Ray Tune: those that a study proposes, or a given list."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray import tune

from evossl.cluster.actor import TrialActor
from evossl.cluster.callbacks import ProgressCallback, StopOnFault
from evossl.cluster.rungs import RungScheduler
from evossl.cluster.searcher import (
    MAX_ATTEMPTS,
    WORKER_DIED,
    ListSearcher,
    StatelessSearcher,
    StudySearcher,
)
from evossl.cluster.session import Session
from evossl.cluster.tracker import TrialTracker
from evossl.config import Resources, Stopping
from evossl.errors import RunError
from evossl.experiment.trial_spec import TrialResult, TrialSpec
from evossl.search.study import Study
from evossl.search.table import TrialRow
from evossl.types import Progress

NO_STOPPING = Stopping()
ONE_CPU = Resources()


@dataclass(frozen=True)
class TrialsPlan:
    """Which trials a search runs.

    Attributes:
        template: what all trials share; number and weights come from the study.
        num_trials: number of ended trials wanted, including those of earlier sessions.
        resources: CPUs and GPUs of one trial.
        stopping: rule of early stopping.
        num_best: number of best trials that keep their checkpoints.
        sized: gives a trial the steps that it may train; see `trial_spec.sized`.
    """

    template: TrialSpec
    num_trials: int
    resources: Resources = ONE_CPU
    stopping: Stopping = NO_STOPPING
    num_best: int = 1
    sized: Callable[[TrialSpec], TrialSpec] = lambda spec: spec


def run_trials(
    study: Study,
    plan: TrialsPlan,
    session: Session,
    on_row: Callable[[TrialRow], None] | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Run the trials that the study proposes until `plan.num_trials` of its trials have ended.

    If a trial itself fails (NaN, collapse, out of memory, an exception in its task), the study
    records it as failed and the search continues. Only infrastructure faults raise an error. A
    trial that such a fault interrupts gets no result, and a resumed search runs it again.
    `trials.parquet` is updated as trials end.

    Args:
        study: proposes trials and records their results.
        plan: the trials.
        session: the connected Ray.
        on_row: called with the row of each trial that has ended.
        progress: called with (steps done, steps in total).
        warn: called once, with a sentence, if a trial gets too little CPU time.

    Raises:
        RunError: the disk is full, or Tune itself failed.
    """
    num_left = plan.num_trials - study.num_finished
    if num_left <= 0:
        return
    template, resources = plan.template, plan.resources
    tracker = TrialTracker(study, Path(template.run.folder), plan.num_best, on_row)
    num_waiting = 0 if session.is_local else 1  # a trial that waits makes a cluster scale up
    searcher = StudySearcher(
        study,
        template,
        plan.num_trials,
        num_slots=lambda: session.num_slots(resources) + num_waiting,
        on_row=tracker.record,
        sized=plan.sized,
    )
    steps = template.steps
    callback = ProgressCallback(
        study.num_finished * steps, plan.num_trials * steps, steps, progress, warn
    )
    try:
        _tune(searcher, num_left, resources, callback, RungScheduler(plan.stopping, study.rows()))
    finally:
        tracker.close()


def run_list(
    specs: Sequence[TrialSpec],
    session: Session,
    resources: Resources,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[TrialResult]:
    """Run the given trials, and return their results in the same order.

    See `run_trials` for `progress` and `warn`.

    Raises:
        RunError: a trial's worker died too often, the disk is full, or Tune itself failed.
    """
    if not specs:
        return []
    searcher = ListSearcher(specs, lambda: session.num_slots(resources))
    longest = max(spec.steps for spec in specs)
    callback = ProgressCallback(0, longest * len(specs), longest, progress, warn)
    _tune(searcher, len(specs), resources, callback)
    for index, spec in enumerate(specs):
        if index not in searcher.results:
            raise RunError(f"trial {spec.number}: {WORKER_DIED}")
    return [searcher.results[index] for index in range(len(specs))]


def _tune(
    searcher: StatelessSearcher,
    num_trials: int,
    resources: Resources,
    progress: ProgressCallback,
    scheduler: RungScheduler | None = None,
) -> None:
    """Let Tune run what the searcher suggests; Tune's own files are temporary."""
    storage = tempfile.mkdtemp(prefix="evossl-tune-")
    try:
        tune.Tuner(
            tune.with_resources(TrialActor, {"cpu": resources.cpus, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=num_trials,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="evossl",
                storage_path=storage,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_ATTEMPTS - 1),
                callbacks=[progress, StopOnFault(searcher)],
            ),
        ).fit()
    except tune.TuneError as error:
        raise RunError(f"Ray Tune failed: {error}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
