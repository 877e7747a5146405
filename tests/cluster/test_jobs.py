"""A job on a worker: its progress, its value, its errors, its deaths."""

import os
import time
from pathlib import Path

import pytest
import ray
import torch

from evossl.cluster.job import Advance, run_on_worker
from evossl.cluster.session import Session
from evossl.config import Resources
from evossl.errors import RunError, UserError


@pytest.mark.parametrize("kind", [UserError, RunError])
def test_what_a_job_on_a_worker_raises_is_raised_here_with_its_own_words(
    session: Session, kind: type[Exception]
) -> None:
    def job(kind: type[Exception], progress: Advance) -> None:
        progress(1, 2)
        raise kind("as it was raised")

    said: list[tuple[int, int]] = []
    with pytest.raises(kind, match=r"^as it was raised$"):
        run_on_worker(job, Resources(), kind, progress=lambda *done: said.append(done))
    assert said == [(1, 2)]


def test_a_bug_in_a_job_is_said_in_one_line_with_its_place(session: Session) -> None:
    def job(_: int, progress: Advance) -> None:
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))

    said = r"^RuntimeError: mat1 and mat2 shapes cannot be multiplied .* \(test_jobs.py:\d+\)$"
    with pytest.raises(RunError, match=said):
        run_on_worker(job, Resources(), 0, progress=lambda *done: None)


def test_a_job_s_progress_is_here_before_its_value(session: Session, tmp_path: Path) -> None:
    """The job goes on when its first word has been heard, and not before."""
    heard = tmp_path / "heard"

    def job(number: int, progress: Advance) -> int:
        progress(1, 2)
        since = time.monotonic()
        while not heard.exists() and time.monotonic() - since < 60:
            time.sleep(0.01)
        progress(2, 2)
        return number if heard.exists() else 0

    said: list[tuple[int, int]] = []

    def advance(done: int, total: int) -> None:
        said.append((done, total))
        heard.touch()

    assert run_on_worker(job, Resources(), 7, progress=advance) == 7
    assert said == [(1, 2), (2, 2)]


def test_a_job_whose_worker_dies_is_run_again_once(session: Session, tmp_path: Path) -> None:
    def job(deaths: int, progress: Advance) -> str:
        progress(1, 2)
        tries = len(list(tmp_path.iterdir()))
        (tmp_path / str(tries)).touch()
        if tries < deaths:
            os._exit(1)
        progress(2, 2)
        return "done"

    said: list[tuple[int, int]] = []
    assert run_on_worker(job, Resources(), 1, progress=lambda *done: said.append(done)) == "done"
    assert said[-1] == (2, 2)
    with pytest.raises(RunError, match="a worker died"):
        run_on_worker(job, Resources(), 9, progress=lambda *done: None)


def test_a_job_computes_with_the_threads_of_its_share_whatever_its_worker_did_before(
    session: Session,
) -> None:
    """Sums with another number of threads differ in their last bits, and fitness with them."""

    def job(threads: int, progress: Advance) -> tuple[int, int]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        return before, os.getpid()

    cpus = float(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]
    shares = [1.0, cpus, 1.0, 0.5]
    found = [
        run_on_worker(job, Resources(cpus=share), 3, progress=lambda *done: None)
        for share in shares
    ]
    assert [threads for threads, _ in found] == [1, int(cpus), 1, 1]
    assert len({process for _, process in found}) == 1  # one and the same, again and again
