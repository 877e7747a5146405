"""The share of the CPU time asked for that a training gets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from evossl.training import cpu_share
from evossl.training.cpu_share import MIN_SHARE, CpuMeter, describe_starvation
from evossl.training.loop import train
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from tests.helpers.training_cases import MemoryLoader, make_model, make_space

SECOND = 10**9  # nanoseconds
BUSY_LOOP = "import os\nos.sched_setaffinity(0, {%d})\nprint('busy', flush=True)\nwhile True: pass"


def write_thread(folder: Path, thread: int, ran: float, waited: float) -> None:
    """Write a thread's `schedstat` as Linux does; times in seconds."""
    (folder / str(thread)).mkdir(exist_ok=True)
    text = f"{round(ran * SECOND)} {round(waited * SECOND)} 12\n"
    (folder / str(thread) / "schedstat").write_text(text, encoding="ascii")


def test_a_share_is_of_all_threads_since_the_last_one(tmp_path: Path) -> None:
    write_thread(tmp_path, 1, ran=100, waited=500)
    write_thread(tmp_path, 2, ran=50, waited=0)
    meter = CpuMeter(tmp_path)
    write_thread(tmp_path, 1, ran=101, waited=508)
    write_thread(tmp_path, 3, ran=1, waited=0)  # a new thread; the second one slept
    assert meter.share() == pytest.approx(2 / 10)
    write_thread(tmp_path, 2, ran=54, waited=0)
    assert meter.share() == 1.0


def test_a_short_interval_is_added_to_the_next(tmp_path: Path) -> None:
    write_thread(tmp_path, 1, ran=0, waited=0)
    meter = CpuMeter(tmp_path)
    write_thread(tmp_path, 1, ran=1, waited=0.5)
    assert meter.share() is None
    write_thread(tmp_path, 1, ran=1, waited=3)
    assert meter.share() == pytest.approx(1 / 4)


def test_a_thread_number_may_be_given_again(tmp_path: Path) -> None:
    write_thread(tmp_path, 1, ran=0, waited=0)
    write_thread(tmp_path, 2, ran=70, waited=70)
    meter = CpuMeter(tmp_path)
    write_thread(tmp_path, 1, ran=3, waited=1)
    write_thread(tmp_path, 2, ran=1, waited=1)
    assert meter.share() == pytest.approx(3 / 4)


def test_no_share_is_known_without_statistics(tmp_path: Path) -> None:
    write_thread(tmp_path, 1, ran=9, waited=9)
    (tmp_path / "1" / "schedstat").write_text("", encoding="ascii")
    assert CpuMeter(tmp_path).share() is None
    assert CpuMeter(tmp_path / "no-proc").share() is None


@pytest.mark.parametrize(
    ("share", "cpus", "is_starved"),
    [
        (MIN_SHARE, 1, False),
        (MIN_SHARE - 0.01, 1, True),
        (MIN_SHARE - 0.01, 4, True),
        (0.5, 0.5, False),  # two trials on a CPU, as the user asked for
        (0.25, 0.5, True),
        (None, 1, False),
    ],
)
def test_starved_is_less_than_was_assigned(
    share: float | None, cpus: float, is_starved: bool
) -> None:
    assert bool(describe_starvation("trial 3", share, cpus)) == is_starved


def test_the_sentence_names_trial_share_and_cause() -> None:
    sentence = str(describe_starvation("trial 3", 0.123))
    assert sentence.startswith("trial 3 gets 12 % of the CPU time that it asks for, because other")
    assert "docs/cluster.md, A machine shared with others" in sentence


@contextmanager
def one_cpu(num_busy: int) -> Iterator[None]:
    """Share one CPU with so many busy processes, of the same nice level."""
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    command = [sys.executable, "-c", BUSY_LOOP % cpu]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(num_busy)]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == b"busy\n"
        os.sched_setaffinity(0, {cpu})
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_training_beside_busy_processes_is_starved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three busy processes on its CPU leave it a quarter."""
    monkeypatch.setattr(cpu_share, "MIN_ASKED_SECONDS", 0.4)
    space = make_space({"simclr": {"places": ["rgb"]}})
    loader: Any = MemoryLoader()
    objective = Objective({"simclr.rgb": 1.0}, {"simclr.rgb": 20.0})
    schedule = Schedule(40, log_every=1)
    with one_cpu(num_busy=3):
        reports = train(make_model(space), loader, objective, schedule, tmp_path)
        found = (report.cpu_share for report in reports if report.cpu_share is not None)
        shares = list(islice(found, 3))
        reports.close()
    middle = median(shares)
    assert 0.1 < middle < 0.4, shares
    assert describe_starvation("the training", middle)
