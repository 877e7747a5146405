"""A job on a worker: its progress, value and errors, and the death of its worker."""

import os
import time
from pathlib import Path

import pytest
import ray
import torch

from evossl.cluster.job import describe_exception, run_on_worker
from evossl.cluster.session import Session
from evossl.config import Resources
from evossl.errors import RunError, UserError
from evossl.types import Progress


def ignore(done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.mark.parametrize("kind", [UserError, RunError])
def test_an_own_error_of_a_job_is_raised_unchanged(session: Session, kind: type[Exception]) -> None:
    def job(kind: type[Exception], progress: Progress) -> None:
        progress(1, 2)
        raise kind("as it was raised")

    reported: list[tuple[int, int]] = []
    with pytest.raises(kind, match=r"^as it was raised$"):
        run_on_worker(job, Resources(), kind, progress=lambda *done: reported.append(done))
    assert reported == [(1, 2)]


def test_a_bug_in_a_job_is_one_line_with_its_place(session: Session) -> None:
    def job(_: int, progress: Progress) -> None:
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))

    message = r"^RuntimeError: mat1 and mat2 shapes cannot be multiplied .* \(test_job.py:\d+\)$"
    with pytest.raises(RunError, match=message):
        run_on_worker(job, Resources(), 0, progress=ignore)


def test_the_place_of_a_bug_is_outside_installed_packages() -> None:
    """Torch raises in linear.py; the place is the line of this file that called it."""
    with pytest.raises(RuntimeError) as raised:
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))
    assert raised.traceback[-1].path.name == "linear.py"
    assert "(test_job.py:" in describe_exception(raised.value)


def test_progress_arrives_while_the_job_still_runs(session: Session, tmp_path: Path) -> None:
    """The job waits until its first progress has arrived."""
    arrived = tmp_path / "arrived"

    def job(number: int, progress: Progress) -> int:
        progress(1, 2)
        since = time.monotonic()
        while not arrived.exists() and time.monotonic() - since < 60:
            time.sleep(0.01)
        progress(2, 2)
        return number if arrived.exists() else 0

    reported: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reported.append((done, total))
        arrived.touch()

    assert run_on_worker(job, Resources(), 7, progress=report) == 7
    assert reported == [(1, 2), (2, 2)]


def test_a_job_whose_worker_dies_is_retried_once(session: Session, tmp_path: Path) -> None:
    def job(deaths: int, progress: Progress) -> str:
        progress(1, 2)
        attempts = len(list(tmp_path.iterdir()))
        (tmp_path / str(attempts)).touch()
        if attempts < deaths:
            os._exit(1)
        progress(2, 2)
        return "done"

    reported: list[tuple[int, int]] = []
    result = run_on_worker(job, Resources(), 1, progress=lambda *done: reported.append(done))
    assert result == "done"
    assert reported[-1] == (2, 2)
    with pytest.raises(RunError, match="a worker died"):
        run_on_worker(job, Resources(), 9, progress=ignore)


def test_a_job_uses_as_many_threads_as_its_cpus(session: Session) -> None:
    """Sums with another number of threads differ in their last bits, and so does the fitness."""

    def job(threads: int, progress: Progress) -> tuple[int, int]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        return before, os.getpid()

    cpus = float(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]
    shares = [1.0, cpus, 1.0, 0.5]
    found = [run_on_worker(job, Resources(cpus=share), 3, progress=ignore) for share in shares]
    assert [threads for threads, _ in found] == [1, int(cpus), 1, 1]
    assert len({process for _, process in found}) == 1, "one worker, used again and again"
