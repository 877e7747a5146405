"""Run a search's trials on Ray Tune."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.util.metrics import Gauge

from evossl.cluster.actor import TrialActor
from evossl.cluster.rungs import RungScheduler
from evossl.cluster.searcher import (
    DIED,
    MAX_DEATHS,
    ListSearcher,
    StatelessSearcher,
    StudySearcher,
)
from evossl.cluster.session import Session
from evossl.config import Resources, Stopping
from evossl.errors import RunError
from evossl.experiment.trial import TrialResult, TrialSpec
from evossl.search.study import Study
from evossl.search.table import TrialRow, write_table

NO_STOPPING = Stopping()
TABLE_SHARE = 0.05  # of the driver's time, at most, goes into the trials table


def run_trials(
    study: Study,
    template: TrialSpec,
    num_trials: int,
    session: Session,
    resources: Resources,
    *,
    stopping: Stopping = NO_STOPPING,
    keep: int = 1,
    on_row: Callable[[TrialRow], None] | None = None,
    on_steps: Callable[[int, int], None] | None = None,
) -> None:
    """Run trials until the study holds `num_trials` ended ones.

    The table follows them: after each, as long as that is quick, and at the end. Checkpoints are
    kept of the best `keep` and the last.

    Args:
        study: asked and told.
        template: what all trials share; number and weights come from the study.
        num_trials: ended trials wanted, those of an earlier session counted.
        session: the connected Ray.
        resources: of one trial.
        stopping: which trials are cut short.
        keep: how many of the best keep their checkpoint.
        on_row: called with each trial that ended.
        on_steps: called with (steps done, steps in all) as trials go on.

    Raises:
        RunError: the disk is full; Tune itself failed.
    """
    left = num_trials - study.num_ended
    if left <= 0:
        return
    book = TrialTracker(study, template, keep, on_row)
    margin = 0 if session.is_local else 1  # one that waits lets an autoscaler see the need
    searcher = StudySearcher(
        study,
        template,
        num_trials,
        slots=lambda: session.slots(resources) + margin,
        on_told=book.enter,
    )
    ended = (num_trials - left) * template.steps
    steps = ProgressCallback(ended, num_trials * template.steps, template.steps, on_steps)
    try:
        _tune(searcher, left, resources, steps, RungScheduler(stopping, study.rows()))
    finally:
        book.close()


def run_list(
    specs: Sequence[TrialSpec],
    session: Session,
    resources: Resources,
    on_steps: Callable[[int, int], None] | None = None,
) -> list[TrialResult]:
    """Run given trials (winners, re-runs) and return their results in the same order.

    Raises:
        RunError: a worker died again and again; the disk is full; Tune itself failed.
    """
    if not specs:
        return []
    searcher = ListSearcher(specs, lambda: session.slots(resources))
    longest = max(spec.steps for spec in specs)
    steps = ProgressCallback(0, sum(spec.steps for spec in specs), longest, on_steps)
    _tune(searcher, len(specs), resources, steps)
    for index, spec in enumerate(specs):
        if index not in searcher.results:
            raise RunError(f"trial {spec.number}: {DIED}")
    return [searcher.results[index] for index in range(len(specs))]


def _tune(
    searcher: StatelessSearcher,
    num_trials: int,
    resources: Resources,
    steps: "ProgressCallback",
    scheduler: RungScheduler | None = None,
) -> None:
    """Let Tune run what the searcher hands out; its own files are scratch."""
    scratch = tempfile.mkdtemp(prefix="evossl-tune-")
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
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_DEATHS - 1),
                callbacks=[steps, StopOnFault(searcher)],
            ),
        ).fit()
    except tune.TuneError as error:
        raise RunError(f"Ray Tune stopped: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class TrialTracker:
    """Keeps the table, the gauges and the checkpoints in step with the study."""

    def __init__(
        self,
        study: Study,
        template: TrialSpec,
        keep: int,
        on_row: Callable[[TrialRow], None] | None,
    ) -> None:
        self._study = study
        self._template = template
        self._keep = keep
        self._on_row = on_row
        self._best = Gauge("evossl_best_fitness_nats", "Lowest fitness of the search.")
        self._states = Gauge("evossl_trials", "Trials by status.", tag_keys=("status",))
        self._with_checkpoint = {row.trial for row in study.rows() if row.completed is not None}
        self._due = 0.0

    def enter(self, row: TrialRow) -> None:
        """A trial ended."""
        best = self._study.best(self._keep)
        if best and best[0].fitness is not None:
            self._best.set(best[0].fitness)
        self._with_checkpoint.add(row.trial)
        self._drop_checkpoints({*(r.trial for r in best), row.trial})
        if time.monotonic() >= self._due:
            self._write()
        if self._on_row:
            self._on_row(row)

    def close(self) -> None:
        """Bring the table up to date."""
        self._write()

    def _write(self) -> None:
        """Of thousands of trials it takes long: a driver of thousands of workers has other work."""
        began = time.monotonic()
        write_table(Path(self._template.run.folder) / "trials.parquet", self._study.rows())
        for status, count in self._study.counts().items():
            self._states.set(count, tags={"status": status})
        ended = time.monotonic()
        self._due = ended + (ended - began) / TABLE_SHARE

    def _drop_checkpoints(self, kept: set[int]) -> None:
        for number in self._with_checkpoint - kept:
            folder = Path(self._template.run.folder) / "trials" / str(number)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        self._with_checkpoint &= kept


class StopOnFault(tune.Callback):
    """Ends the run when the searcher has met a fault: from here, what is raised gets out."""

    def __init__(self, searcher: StatelessSearcher) -> None:
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks."""
        return {}

    def on_step_end(self, iteration: int, trials: Any, **_: Any) -> None:
        """Tune has handled an event."""
        if self._searcher.fault is not None:
            raise self._searcher.fault


class ProgressCallback(tune.Callback):
    """Turns Tune's results into progress over all steps of the search."""

    def __init__(
        self,
        done: int,
        total: int,
        steps_per_trial: int,
        on_steps: Callable[[int, int], None] | None,
    ) -> None:
        self._done = done
        self._said = 0
        self._total = total
        self._steps_per_trial = steps_per_trial
        self._under_way: dict[str, int] = {}
        self._on_steps = on_steps

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, and a progress bar holds locks."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        """A trial logged a step."""
        self._under_way[trial.trial_id] = result.get("steps", self._steps_per_trial)
        self._say()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """A trial ended, perhaps before its last step."""
        self._under_way.pop(trial.trial_id, None)
        self._done += self._steps_per_trial
        self._say()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """A trial's worker died for the last time."""
        self.on_trial_complete(iteration, trials, trial)

    def _say(self) -> None:
        """Never more than all, and never back: a trial whose worker died begins anew."""
        if self._on_steps:
            done = self._done + sum(self._under_way.values())
            self._said = min(max(done, self._said), self._total)
            self._on_steps(self._said, self._total)
