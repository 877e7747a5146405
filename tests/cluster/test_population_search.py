"""A whole population-based search on a real local Ray, resumed half-way. Takes a minute: slow."""

import json
import warnings
from pathlib import Path

import pytest

from evossl import load_encoder
from evossl.cluster.search_job import SearchPlan
from evossl.cluster.session import Session
from evossl.experiment.run_folder import read_run
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from evossl.training.checkpoint import read_state
from tests.cluster.test_search import FinishedSearch, search
from tests.helpers.tiny_runs import make_run

pytestmark = pytest.mark.slow
STEPS, FINAL_STEPS, TRIALS = 1, 2, 10
PLAN = SearchPlan(trials=TRIALS, steps=STEPS, final_steps=FINAL_STEPS, max_reruns=0)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path, session: Session
) -> FinishedSearch:
    """A search that ended after six of its ten trials, and was resumed."""
    folder = tmp_path_factory.mktemp("population") / "run"
    make_run(folder, tiny_videos, tiny_cache, sampler={"name": "pbt", "population": 4})
    assert read_run(folder).parsed_space.sampler.name == "pbt"
    half = SearchPlan(trials=6, steps=STEPS, final_steps=FINAL_STEPS)
    search(folder, half, session)
    with Study.open(folder) as study:  # a trial that was running when the driver died
        child = study.ask()
        assert child.parent is not None
    return search(folder, PLAN, session)


def segment(rows: list[TrialRow], number: int) -> int:
    """Return how many segments a trial inherits."""
    parent = next(row.parent for row in rows if row.trial == number)
    return 0 if parent is None else 1 + segment(rows, parent)


def test_the_table_says_which_trial_continues_which(finished: FinishedSearch) -> None:
    rows = [row for row in read_table(finished.folder / "trials.parquet") if row.trial >= 0]
    assert [row.parent is None for row in rows] == [True] * 4 + [False] * (TRIALS - 4)
    assert all(row.status == "complete" for row in rows), [row.reason for row in rows]


def test_every_checkpoint_holds_the_steps_of_its_line(finished: FinishedSearch) -> None:
    rows = read_table(finished.folder / "trials.parquet")
    kept = [path.parent for path in finished.folder.glob("trials/*/checkpoint")]
    steps = {int(path.name): read_state(path / "checkpoint")["step"] for path in kept}
    assert steps == {number: STEPS * (segment(rows, number) + 1) for number in steps}
    with Study.open(finished.folder) as study:
        best = study.best(1)[0]
        parents = set() if best.parent is None else {best.parent}
        last = max(study.rows(), key=lambda row: -1 if row.completed is None else row.completed)
        assert set(steps) == study.inheritable() | {best.trial, last.trial} | parents
    assert len(steps) < TRIALS


def test_the_winner_continues_the_best_member(finished: FinishedSearch) -> None:
    rows = read_table(finished.folder / "trials.parquet")
    best = finished.trials[0].trial
    state = read_state(finished.folder / "winner" / "checkpoint")
    assert state["step"] == STEPS * (segment(rows, best) + 1) + FINAL_STEPS
    assert json.loads((finished.folder / "winner" / "winner.json").read_text())["trial"] == best
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may be no better than its controls
        load_encoder(finished.outcome.encoders[0])
