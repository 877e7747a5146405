"""Tune searchers: which trials they suggest, and what they report to the study."""

import pickle
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from evossl.cluster.actor import final_report, trial_spec
from evossl.cluster.callbacks import ProgressCallback, StopOnFault
from evossl.cluster.searcher import WORKER_DIED, ListSearcher, StudySearcher
from evossl.config import Sampler
from evossl.errors import RunError
from evossl.experiment.trial_spec import TrialResult
from evossl.search.study import Study
from evossl.search.table import TrialRow
from tests.helpers.trial_specs import GENOTYPE, SPEC


def result(number: int, fitness: float | None = 2.0) -> TrialResult:
    reason = None if fitness is not None else "NaN"
    return TrialResult(number, fitness, reason, 1.5, {"ami_views": 0.5})


def tune_report(result: TrialResult) -> dict[str, Any]:
    """Return a trial's last report as Tune passes it on: flattened, with the config."""
    flat: dict[str, Any] = flatten_dict(final_report(result) | {"config": {"a": {"b": 1}}})
    return flat


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.create(tmp_path, GENOTYPE, Sampler(name="random"), 0) as opened:
        yield opened


def make_searcher(study: Study, num_trials: int = 9) -> StudySearcher:
    return StudySearcher(study, SPEC, num_trials, lambda: 2, on_row=lambda row: None)


def number_of(config: Any) -> int:
    return trial_spec(config["trial"]).number


def test_no_more_trials_run_than_there_are_slots(study: Study) -> None:
    searcher = make_searcher(study)
    assert [number_of(searcher.suggest(name)) for name in "ab"] == [0, 1]
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", tune_report(result(0)))
    assert number_of(searcher.suggest("c")) == 2
    assert searcher.suggest("d") is None


def test_the_search_finishes_when_the_last_trial_ends(study: Study) -> None:
    searcher = make_searcher(study, num_trials=2)
    for name in "ab":
        searcher.suggest(name)
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("b", tune_report(result(1)))
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", tune_report(result(0)))
    assert searcher.suggest("c") == Searcher.FINISHED


def test_a_resume_counts_earlier_trials_and_repeats_lost_ones(study: Study) -> None:
    study.ask()
    told = asdict(result(0)) | {"status": "complete"}
    study.tell(0, **{k: told[k] for k in ("status", "fitness", "reason", "seconds", "indicators")})
    study.ask()
    study.abandon(1)
    searcher = make_searcher(study, num_trials=2)
    assert number_of(searcher.suggest("a")) == 1
    assert searcher.suggest("b") is None


def test_specs_and_results_survive_tunes_flattening(study: Study) -> None:
    searcher = make_searcher(study)
    config = searcher.suggest("a")
    assert isinstance(config, dict)
    assert trial_spec(config["trial"]).weights["distill.flow->rgb.stage3"] > 0
    searcher.on_trial_complete("a", tune_report(result(0)))
    row = study.rows()[0]
    assert (row.status, row.fitness, row.seconds) == ("complete", 2.0, 1.5)
    assert row.indicators == {"ami_views": 0.5}


def test_failures_and_dead_workers_are_failed_trials(study: Study) -> None:
    searcher = make_searcher(study)
    for name in "ab":
        searcher.suggest(name)
    searcher.on_trial_complete("a", tune_report(result(0, fitness=None)))
    searcher.on_trial_complete("b", error=True)
    assert [(row.status, row.reason) for row in study.rows()] == [
        ("failed", "NaN"),
        ("failed", WORKER_DIED),
    ]


def test_a_fault_ends_the_run_and_its_trial_stays_running(study: Study) -> None:
    searcher = make_searcher(study)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"done": True, "fault": "the disk is full"})
    assert str(searcher.fault) == "the disk is full"
    assert searcher.suggest("b") is None
    assert study.rows()[0].status == "running"
    with pytest.raises(RunError, match="the disk is full"):
        StopOnFault(searcher).on_step_end(0, [])


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_a_journal_that_cannot_be_written_ends_the_run(
    study: Study, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """If the searcher raised, Tune would swallow it and run the trial again."""

    def fail(*_: Any, **__: Any) -> None:
        raise RunError("the disk is full")

    searcher = make_searcher(study)
    searcher.suggest("a")
    monkeypatch.setattr(study, method, fail)
    searcher.on_trial_complete("a", tune_report(result(0)))
    assert searcher.suggest("b") is None
    assert str(searcher.fault) == "the disk is full"


def test_each_ended_trial_is_passed_on_once(study: Study) -> None:
    rows: list[TrialRow] = []
    searcher = StudySearcher(study, SPEC, 9, lambda: 2, rows.append)
    for name in "ab":
        searcher.suggest(name)
    for name, number in (("b", 1), ("a", 0)):
        searcher.on_trial_complete(name, tune_report(result(number)))
    assert [row.trial for row in rows] == [1, 0]


def test_a_list_searcher_keeps_results_by_position() -> None:
    specs = [replace(SPEC, number=n) for n in (5, 3, 8)]
    searcher = ListSearcher(specs, lambda: 2)
    assert [number_of(searcher.suggest(name)) for name in "ab"] == [5, 3]
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("b", tune_report(result(3)))
    searcher.suggest("c")
    searcher.on_trial_complete("a", error=True)
    searcher.on_trial_complete("c", tune_report(result(8)))
    assert searcher.suggest("d") == Searcher.FINISHED
    assert {index: found.number for index, found in searcher.results.items()} == {1: 3, 2: 8}


def test_searchers_and_callbacks_can_be_pickled(study: Study) -> None:
    """Tune pickles them at any time, although they hold locks."""
    searcher = make_searcher(study)
    lock = threading.Lock()
    steps = ProgressCallback(0, 4, 4, lambda done, total: lock.locked() and None)
    with pytest.raises(TypeError):
        pickle.dumps(lock)
    for thing in (searcher, ListSearcher([SPEC], lambda: 1), steps, StopOnFault(searcher)):
        cloudpickle.loads(cloudpickle.dumps(thing))
