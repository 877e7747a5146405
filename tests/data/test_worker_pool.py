"""The worker pool: a hang, crash or exception costs one file and nothing else."""

import os
import sys
from pathlib import Path

import pytest

from evossl.data.workers.job import FileJob
from evossl.data.workers.pool import WorkerPool
from evossl.errors import RunError, UserError
from tests.helpers.clip_files import write_video

MISBEHAVE = "tests.helpers.misbehaving_jobs:misbehave"


def run(names: list[str], *, workers: int = 2, deadline: float = 2.0) -> dict[str, str | None]:
    """Return {name: reason}, None for a file without a fault."""
    pool = WorkerPool(MISBEHAVE, workers=workers, deadline=deadline)
    outcomes = list(pool.run(FileJob(i, f"/{name}") for i, name in enumerate(names)))
    pool.close()
    assert sorted(outcome.number for outcome in outcomes) == list(range(len(names)))
    assert all((outcome.value is None) == (outcome.reason is not None) for outcome in outcomes)
    return {names[outcome.number]: outcome.reason for outcome in outcomes}


def test_each_way_to_crash_is_named_and_costs_one_file() -> None:
    reasons = run(["a", "exit_1", "b", "abort_1", "crash_1", "c", "kill_1", "d"])
    assert reasons == {
        "a": None,
        "exit_1": "killed the decoder: exit code 7",
        "b": None,
        "abort_1": "killed the decoder: SIGABRT",
        "crash_1": "killed the decoder: SIGSEGV",
        "c": None,
        "kill_1": "killed the decoder: SIGKILL",
        "d": None,
    }


def test_a_hanging_worker_is_killed_and_replaced() -> None:
    reasons = run(["hang_1", "a", "b"], workers=1, deadline=0.3)
    assert reasons == {"hang_1": "no answer within 0.3 s", "a": None, "b": None}


def test_an_exception_fails_the_file_with_a_one_line_reason() -> None:
    reasons = run(["bad_1", "odd_1", "a"])
    assert reasons == {
        "bad_1": "broken: on purpose",
        "odd_1": "ZeroDivisionError: by zero",
        "a": None,
    }


def test_output_of_a_decoder_is_not_taken_for_an_answer() -> None:
    pool = WorkerPool(MISBEHAVE, workers=1, deadline=5)
    first, second = pool.run([FileJob(0, "/chatter_1"), FileJob(1, "/b")])
    assert first.value == second.value
    assert first.value is not None
    assert "a" not in first.value


def test_only_temporary_faults_are_retryable() -> None:
    pool = WorkerPool(MISBEHAVE, workers=2, deadline=0.3)
    names = ["hang_1", "exit_1", "bad_1", "odd_1", "a"]
    outcomes = pool.run(FileJob(i, f"/{name}") for i, name in enumerate(names))
    assert {names[o.number] for o in outcomes if o.retryable} == {"hang_1", "exit_1"}


def test_a_full_disk_ends_the_run_and_every_process() -> None:
    pool = WorkerPool(MISBEHAVE, workers=2, deadline=60)
    outcomes = pool.run([FileJob(0, "/hang_1"), FileJob(1, "/full_1"), FileJob(2, "/a")])
    with pytest.raises(RunError, match="the disk is full"):
        list(outcomes)
    assert pool.processes() == []


def test_closing_a_run_kills_busy_workers_and_keeps_idle_ones() -> None:
    pool = WorkerPool(MISBEHAVE, workers=2, deadline=60)
    outcomes = pool.run([FileJob(0, "/hang_1"), FileJob(1, "/a")])
    assert next(outcomes).number == 1
    assert len(pool.processes()) == 2
    outcomes.close()
    (idle,) = pool.processes()
    assert next(pool.run([FileJob(5, "/b")])).number == 5
    assert pool.processes() == [idle]
    pool.close()
    assert pool.processes() == []


def test_jobs_are_taken_as_workers_become_free() -> None:
    taken: list[int] = []

    def jobs():
        for number in range(6):
            taken.append(number)
            yield FileJob(number, "/a")

    pool = WorkerPool(MISBEHAVE, workers=2, deadline=60)
    outcomes = pool.run(jobs())
    next(outcomes)
    assert len(taken) == 2
    assert len(list(outcomes)) == 5


def test_a_worker_that_cannot_start_ends_the_run() -> None:
    pool = WorkerPool("no_such_module:f", workers=1, deadline=5)
    with pytest.raises(RunError, match="no_such_module"):
        list(pool.run([FileJob(0, "/a")]))


@pytest.mark.parametrize(("workers", "deadline"), [(0, 1.0), (1, 0.0), (-1, 5.0)])
def test_workers_and_deadline_must_be_positive(workers: int, deadline: float) -> None:
    with pytest.raises(UserError, match="must be positive"):
        WorkerPool(MISBEHAVE, workers=workers, deadline=deadline)


def test_workers_import_no_torch_and_no_ray(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", sound=1.0)
    pool = WorkerPool("tests.helpers.misbehaving_jobs:loaded_modules", workers=1, deadline=60)
    (outcome,) = pool.run([FileJob(0, str(file))])
    assert outcome.value is not None, outcome.reason
    assert {"torch", "ray", "torchaudio", "torchvision", "pydantic"} & set(
        outcome.value["modules"]
    ) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="no such call elsewhere")
@pytest.mark.parametrize("more", [0, 1])
def test_workers_stay_on_their_cpu_if_there_are_enough(
    more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    affinity = os.sched_getaffinity
    cpus = sorted(affinity(0))[:2]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: affinity(pid) if pid else {*cpus})
    pool = WorkerPool(MISBEHAVE, workers=len(cpus) + more, deadline=60)
    expected = [affinity(0)] * (len(cpus) + 1) if more else [{cpu} for cpu in cpus]
    for names in (["a"] * len(expected), ["kill_1"], ["a"] * len(expected)):
        list(pool.run(FileJob(i, f"/{name}") for i, name in enumerate(names)))
    found = [affinity(process) for process in pool.processes()]
    pool.close()
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
