"""Trials on a real local Ray: failures are results, dead workers are retried, faults raise."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from evossl.cluster.run import TrialsPlan, run_list, run_trials
from evossl.cluster.searcher import WORKER_DIED
from evossl.cluster.session import Session
from evossl.config import Resources, Sampler
from evossl.errors import RunError
from evossl.experiment.context import RunSpec
from evossl.experiment.trial_spec import TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from tests.helpers.moody_tasks import MoodyTasks, read_moody_log, write_moody_task
from tests.helpers.tiny_runs import make_run

ONE_AT_A_TIME = Resources(max_concurrent=1)
TASKS = {"moody": {"places": ["rgb"]}, "simclr": {"places": ["rgb"], "weight": 0.5}}
GENOTYPE = Genotype.from_weights({"moody.rgb": (0.5, 1.0), "simclr.rgb": 0.5})


@dataclass(frozen=True)
class MoodySearch:
    """A search whose trials of two steps took moods in turn.

    Attributes:
        folder: of the run.
        rows: of the study at the end.
        progress: what was reported.
        log: (process, mood) of each training.
        error: what ended the search, or None.
    """

    folder: Path
    rows: list[TrialRow]
    progress: list[tuple[int, int]]
    log: list[tuple[str, str]]
    error: RunError | None


def moody_run(folder: Path, videos: Path, cache: Path, tasks: Path) -> RunSpec:
    run = make_run(folder, videos, cache, tasks=TASKS, tasks_folder=str(tasks))
    return replace(run, gradient_scales={"moody.rgb": 1.0, "simclr.rgb": 1.0})


def search(run: RunSpec, tasks: Path, session: Session, num_trials: int) -> MoodySearch:
    """Run a random search of the moody task's weight, one trial at a time."""
    folder, error = Path(run.folder), None
    plan = TrialsPlan(TrialSpec(0, {}, run, 2, log_every=1), num_trials, ONE_AT_A_TIME)
    progress: list[tuple[int, int]] = []
    with Study.create(folder, GENOTYPE, Sampler(name="random"), 0) as study:
        try:
            run_trials(study, plan, session, progress=lambda *done: progress.append(done))
        except RunError as raised:
            error = raised
        return MoodySearch(folder, study.rows(), progress, read_moody_log(tasks), error)


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path, session: Session
) -> MoodySearch:
    """Six trials, one of which kills its worker at first; the folder of the seventh is a file."""
    folder = tmp_path_factory.mktemp("moody")
    tasks = write_moody_task(folder / "tasks", "fine raise nan fine die fine fine")
    run = moody_run(folder / "run", tiny_videos, tiny_cache, tasks)
    (folder / "run" / "trials").mkdir()
    (folder / "run" / "trials" / "6").write_text("in the way", encoding="utf-8")
    return search(run, tasks, session, num_trials=7)


def test_a_trials_own_failure_is_a_result(stopped: MoodySearch) -> None:
    statuses = [row.status for row in stopped.rows[:6]]
    assert statuses == ["complete", "failed", "failed", *["complete"] * 3]
    assert str(stopped.rows[1].reason).startswith("ValueError: not today (moody.py:")
    assert stopped.rows[2].reason == "the loss of moody.rgb is not finite at step 2"


def test_a_fault_stops_the_search_and_fails_no_trial(stopped: MoodySearch) -> None:
    assert "cannot be written" in str(stopped.error)
    with Study.open(stopped.folder) as study:
        assert [row.status for row in study.rows()[6:]] == ["running"], "a resume runs it again"


def test_one_warm_process_runs_all_trials_until_it_dies(stopped: MoodySearch) -> None:
    processes, moods = zip(*stopped.log[:7], strict=True)
    assert moods == ("fine", "raise", "nan", "fine", "die", "fine", "fine")
    assert len(set(processes[:5])) == 1
    assert len(set(processes[5:])) == 1
    assert processes[4] != processes[5]


def test_a_retried_trial_starts_its_history_anew(stopped: MoodySearch) -> None:
    history = stopped.folder / "trials" / "4" / "history.jsonl"
    assert len(history.read_text(encoding="utf-8").splitlines()) == 2


def test_progress_counts_the_steps_of_all_trials(stopped: MoodySearch) -> None:
    done = [done for done, _ in stopped.progress]
    assert done == sorted(done)
    assert {total for _, total in stopped.progress} == {14}
    assert 12 in done


def test_the_table_is_complete_and_two_checkpoints_are_kept(stopped: MoodySearch) -> None:
    table = read_table(stopped.folder / "trials.parquet")
    assert [(r.trial, r.status, r.fitness) for r in table] == [
        (r.trial, r.status, r.fitness) for r in stopped.rows
    ]
    kept = {path.parent.name for path in (stopped.folder / "trials").glob("*/checkpoint")}
    complete = [row for row in stopped.rows if row.fitness is not None]
    best = min(complete, key=lambda row: (row.fitness, row.trial))
    assert kept == {str(best.trial), "5"}, "of the best and of the last"


@pytest.mark.slow
def test_a_trial_fails_after_three_dead_workers(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session, moody_tasks: MoodyTasks
) -> None:
    tasks = moody_tasks("die die die fine")
    run = moody_run(tmp_path / "run", tiny_videos, tiny_cache, tasks)
    found = search(run, tasks, session, num_trials=2)
    statuses = [(row.status, row.reason) for row in found.rows]
    assert statuses == [("failed", WORKER_DIED), ("complete", None)]
    assert found.progress[-1] == (4, 4)
    assert len(found.log) == 4


def test_an_empty_list_of_trials_needs_no_ray() -> None:
    assert run_list([], Session(None, is_local=True), ONE_AT_A_TIME) == []
