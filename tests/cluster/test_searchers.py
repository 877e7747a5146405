"""What Tune is given: searchers and callbacks that it may pickle, progress, slots, faults."""

import errno
import json
import logging
import pickle
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray import cloudpickle
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from evossl.cluster import actor
from evossl.cluster import run as run_module
from evossl.cluster.actor import TrialActor, trial_spec
from evossl.cluster.job import in_words
from evossl.cluster.run import ProgressCallback, StopOnFault, TrialTracker
from evossl.cluster.searcher import DIED, ListSearcher, StudySearcher
from evossl.cluster.session import Session, ray_session
from evossl.config import Resources, Sampler
from evossl.errors import RunError, UserError
from evossl.experiment.context import RunSpec
from evossl.experiment.trial import TrialResult, TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from tests.helpers.tiny_runs import RAW, WEIGHTS

RUN = RunSpec(str(RAW), "m.parquet", "cache", "run", 0, scales={"simclr.rgb": 1.0})
SPEC = TrialSpec(0, WEIGHTS, RUN, 4)
GENOTYPE = Genotype.of({"distill.flow->rgb.stage3": (0.0, 1.0), "simclr.rgb": 0.5})


def result(number: int, fitness: float | None = 2.0) -> TrialResult:
    reason = None if fitness is not None else "NaN"
    return TrialResult(number, fitness, reason, 1.5, {"ami_views": 0.5})


def as_tune_has_it(told: TrialResult) -> dict[str, Any]:
    """The last result of a trial, on its way through the actor and Tune's flattening."""
    flat: dict[str, Any] = flatten_dict(actor._ended(told) | {"config": {"a": {"b": 1}}})
    return flat


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.create(tmp_path, GENOTYPE, Sampler(name="random"), 0) as opened:
        yield opened


def make_searcher(study: Study, num_trials: int = 9, slots: int = 2) -> StudySearcher:
    return StudySearcher(study, SPEC, num_trials, lambda: slots, on_told=lambda row: None)


def number_of(config: Any) -> int:
    return trial_spec(config["trial"]).number


def test_no_more_trials_are_handed_out_than_there_are_slots(study: Study) -> None:
    searcher = make_searcher(study)
    assert [number_of(searcher.suggest(name)) for name in "ab"] == [0, 1]
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", as_tune_has_it(result(0)))
    assert number_of(searcher.suggest("c")) == 2
    assert searcher.suggest("d") is None


def test_the_search_is_finished_when_the_last_trial_has_ended_not_when_it_begins(
    study: Study,
) -> None:
    searcher = make_searcher(study, num_trials=2)
    for name in "ab":
        searcher.suggest(name)
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("b", as_tune_has_it(result(1)))
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", as_tune_has_it(result(0)))
    assert searcher.suggest("c") == Searcher.FINISHED


def test_trials_of_an_earlier_session_count_and_its_running_ones_come_first(study: Study) -> None:
    study.ask()
    told = asdict(result(0)) | {"status": "complete"}
    study.tell(0, **{k: told[k] for k in ("status", "fitness", "reason", "seconds", "indicators")})
    study.ask()
    study.abandon(1)
    searcher = make_searcher(study, num_trials=2)
    assert number_of(searcher.suggest("a")) == 1
    assert searcher.suggest("b") is None


def test_what_tune_flattens_comes_out_whole(study: Study) -> None:
    searcher = make_searcher(study)
    config = searcher.suggest("a")
    assert isinstance(config, dict)
    assert trial_spec(config["trial"]).weights["distill.flow->rgb.stage3"] > 0
    searcher.on_trial_complete("a", as_tune_has_it(result(0)))
    row = study.rows()[0]
    assert (row.status, row.fitness, row.seconds) == ("complete", 2.0, 1.5)
    assert row.indicators == {"ami_views": 0.5}


def test_failures_and_deaths_are_failed_with_their_reasons(study: Study) -> None:
    searcher = make_searcher(study)
    for name in "ab":
        searcher.suggest(name)
    searcher.on_trial_complete("a", as_tune_has_it(result(0, fitness=None)))
    searcher.on_trial_complete("b", error=True)
    assert [(row.status, row.reason) for row in study.rows()] == [
        ("failed", "NaN"),
        ("failed", DIED),
    ]


def test_a_machines_fault_is_kept_and_the_trial_is_asked_again(study: Study) -> None:
    searcher = make_searcher(study)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"done": True, "fault": "the disk is full"})
    assert str(searcher.fault) == "the disk is full"
    assert searcher.suggest("b") is None
    assert study.rows()[0].status == "running"
    with pytest.raises(RunError, match="the disk is full"):
        StopOnFault(searcher).on_step_end(0, [])


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_a_journal_that_cannot_be_written_ends_the_run_where_tune_would_try_again(
    study: Study, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RunError("the disk is full")

    searcher = make_searcher(study)
    searcher.suggest("a")
    monkeypatch.setattr(study, method, full)
    searcher.on_trial_complete("a", as_tune_has_it(result(0)))
    assert searcher.suggest("b") is None
    assert str(searcher.fault) == "the disk is full"


def test_a_given_list_comes_back_in_its_order() -> None:
    specs = [replace(SPEC, number=n) for n in (5, 3, 8)]
    searcher = ListSearcher(specs, lambda: 2)
    assert [number_of(searcher.suggest(name)) for name in "ab"] == [5, 3]
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("b", as_tune_has_it(result(3)))
    searcher.suggest("c")
    searcher.on_trial_complete("a", error=True)
    searcher.on_trial_complete("c", as_tune_has_it(result(8)))
    assert searcher.suggest("d") == Searcher.FINISHED
    assert {index: told.number for index, told in searcher.results.items()} == {1: 3, 2: 8}


def test_tune_may_pickle_searchers_and_callbacks_that_hold_locks(study: Study) -> None:
    searcher = make_searcher(study)
    lock = threading.Lock()
    steps = ProgressCallback(0, 4, 4, lambda done, total: lock.locked() and None)
    with pytest.raises(TypeError):
        pickle.dumps(lock)
    for thing in (searcher, ListSearcher([SPEC], lambda: 1), steps, StopOnFault(searcher)):
        cloudpickle.loads(cloudpickle.dumps(thing))


def progress(total: int, steps_per_trial: int) -> tuple[ProgressCallback, list[int]]:
    said: list[int] = []
    return ProgressCallback(0, total, steps_per_trial, lambda done, _: said.append(done)), said


def test_progress_never_exceeds_all_nor_goes_back_when_a_trial_begins_anew() -> None:
    steps, said = progress(8, 4)
    first, second = (SimpleNamespace(trial_id=name) for name in "ab")
    for done in (1, 3, 1, 2, 4):  # its worker died after 3
        steps.on_trial_result(0, [], first, {"steps": done})
    steps.on_trial_complete(0, [], first)
    assert said == [1, 3, 3, 3, 4, 4]
    steps.on_trial_result(0, [], second, {"steps": 2})
    steps.on_trial_error(0, [], second)
    assert said[-2:] == [6, 8]
    steps.on_trial_complete(0, [], first)
    assert max(said) == 8


def test_a_trial_that_ends_early_counts_as_all_of_its_steps() -> None:
    steps, said = progress(8, 4)
    trial = SimpleNamespace(trial_id="a")
    steps.on_trial_result(0, [], trial, {"steps": 1})
    steps.on_trial_complete(0, [], trial)
    assert said == [1, 4]


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(cpus=2), 8),
        (Resources(cpus=3), 5),
        (Resources(cpus=1, gpus=0.25), 8),
        (Resources(cpus=1, gpus=1), 2),
        (Resources(cpus=1, max_concurrent=3), 3),
        (Resources(cpus=64), 1),
    ],
)
def test_slots_follow_the_cluster_the_trials_share_and_the_users_bound(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, slots: int
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 2.0})
    assert Session(None, is_local=True).slots(resources) == slots


@pytest.mark.parametrize(
    ("resources", "trainings", "cpus"),
    [
        (Resources(cpus=1), 1, 16),
        (Resources(cpus=1), 3, 5),
        (Resources(cpus=0.5), 100, 0.5),
        (Resources(cpus=1, gpus=1), 3, 8),  # two at a time
        (Resources(cpus=1, max_concurrent=1), 3, 16),
        (Resources(cpus=12), 2, 16),
    ],
)
def test_trainings_that_have_a_machine_to_themselves_share_all_its_cpus(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, trainings: int, cpus: float
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 2.0})
    local = Session(None, is_local=True).shares(resources, trainings)
    assert local == resources.model_copy(update={"cpus": cpus})
    assert Session(None, is_local=False).shares(resources, trainings) == resources


def stepping(error: BaseException) -> TrialActor:
    """A trial actor in this process, whose training raises."""

    def steps() -> Iterator[Any]:
        raise error
        yield

    made = TrialActor.__new__(TrialActor)
    made._steps, made._number, made._began = steps(), 3, 0.0  # type: ignore[assignment]
    return made


def test_a_bug_in_a_task_is_that_trials_failure_with_its_place() -> None:
    last = stepping(IndexError("list index out of range")).step()
    told = TrialResult(**json.loads(last["result"]))
    assert last["done"]
    assert (told.number, told.fitness) == (3, None)
    assert str(told.reason).startswith("IndexError: list index out of range (test_searchers.py:")
    told = TrialResult(**json.loads(stepping(UserError("no weight")).step()["result"]))
    assert told.reason == "no weight"


def test_the_place_of_a_bug_is_in_the_users_own_file_not_in_torch() -> None:
    """This file stands for the user's: what it calls is installed, and raises further down."""
    with pytest.raises(RuntimeError) as raised:
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))
    assert raised.traceback[-1].path.name == "linear.py"
    assert "(test_searchers.py:" in in_words(raised.value)


def test_a_fault_of_the_machine_is_handed_over_as_one_and_a_lost_gpu_ends_the_process() -> None:
    assert stepping(RunError("the disk is full")).step() == {
        "done": True,
        "fault": "the disk is full",
    }
    full = OSError(errno.ENOSPC, "No space left on device")  # wherever it was met
    assert "No space left on device (test_searchers.py:" in stepping(full).step()["fault"]
    gone = stepping(FileNotFoundError(errno.ENOENT, "a task's own")).step()
    assert "a task's own" in str(TrialResult(**json.loads(gone["result"])).reason)
    with pytest.raises(torch.AcceleratorError):
        stepping(torch.AcceleratorError("device-side assert")).step()


@pytest.mark.parametrize("error", [ConnectionError("no"), Exception("timed out during startup")])
@pytest.mark.parametrize(
    ("address", "said"),
    [("there", "--address there: cannot be reached.*RAY_AUTH_MODE=token"), (None, "very busy")],
)
def test_a_ray_that_does_not_start_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None, said: str
) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(RunError, match=f"{said}.*{error}"), ray_session(address):
        pass


def test_a_dashboard_that_does_not_start_is_done_without_and_ray_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Ray does: with `include_dashboard=True` it raises, else it logs and goes on."""

    def init(include_dashboard: bool | None, logging_level: int, **_: Any) -> SimpleNamespace:
        logging.getLogger("ray").setLevel(logging_level)
        logging.getLogger("ray._private.services").error("Failed to start the dashboard")
        if include_dashboard:
            raise Exception("the last 20 lines of dashboard.log")
        return SimpleNamespace(dashboard_url=None)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with ray_session(None) as session:
        assert session == Session(None, is_local=True)
        assert logging.getLogger("ray").level == logging.ERROR, "what comes later is heard"
    assert not caplog.records


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (Resources(cpus=3), "resources.cpus: 3 for a trial, this machine has 2"),
        (Resources(gpus=0.5), "resources.gpus: 0.5 for a trial, this machine has 0"),
    ],
)
def test_a_trial_that_this_machine_can_never_hold_is_refused_instead_of_waited_for(
    monkeypatch: pytest.MonkeyPatch, share: Resources, said: str
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(UserError, match=said):
        Session(None, is_local=True).check(share)
    Session(None, is_local=True).check(Resources(cpus=2))
    Session(None, is_local=False).check(share)  # a cluster grows


def test_a_row_is_told_once_for_each_trial(study: Study) -> None:
    rows: list[TrialRow] = []
    searcher = StudySearcher(study, SPEC, 9, lambda: 2, rows.append)
    for name in "ab":
        searcher.suggest(name)
    for name, number in (("b", 1), ("a", 0)):
        searcher.on_trial_complete(name, as_tune_has_it(result(number)))
    assert [row.trial for row in rows] == [1, 0]


def test_a_table_that_takes_long_is_written_seldom_and_whole_at_the_end(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "TABLE_SHARE", 1e-9)
    book = TrialTracker(study, replace(SPEC, run=replace(RUN, folder=str(tmp_path))), 1, None)
    for _ in range(3):
        number = study.ask().number
        told = study.tell(
            number, status="complete", fitness=1.0, reason=None, seconds=1.0, indicators={}
        )
        book.enter(told)
    assert len(read_table(tmp_path / "trials.parquet")) == 1
    book.close()
    assert read_table(tmp_path / "trials.parquet") == study.rows()
