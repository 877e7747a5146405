"""`evossl search` as a process that is killed, stopped and resumed. Takes minutes: all slow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evossl import load_encoder
from evossl.search.table import TrialRow, read_table
from tests.helpers.moody_tasks import MoodyTasks, read_moody_log
from tests.helpers.tiny_runs import write_space

pytestmark = pytest.mark.slow
EVOSSL = [sys.executable, "-c", "from evossl.cli import main; main()"]
TASKS = {"moody": {"places": ["rgb"]}, "simclr": {"places": ["rgb"]}}
TIMEOUT = 240.0  # seconds


class Search:
    """The command line of one search over the tiny videos."""

    def __init__(self, folder: Path, videos: Path, cache: Path, tasks: Path, **keys: Any) -> None:
        budget = {"trials": keys.pop("trials", 4), "steps": 2}
        space = write_space(folder / "space.yaml", tasks=TASKS, budget=budget, **keys)
        self.out, self.tasks, self.log = folder / "run", tasks, folder / "log.txt"
        self.words = [
            *EVOSSL, "search", "--data", str(videos), "--space", str(space), "--cache", str(cache),
            "--tasks", str(tasks), "--out", str(self.out), "--final-steps", "2",
            "--max-concurrent", "1", "--device", "cpu",
        ]  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.words, *more], stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def end(self) -> None:
        """Kill the process if a test failed half-way; its Ray ends with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def run(self, *more: str) -> int:
        return self.start(*more).wait(TIMEOUT)

    def start_and_wait_for_sleep(self) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
        """Start; return the process and its children once a trial is asleep."""
        process = self.start()
        wait_for(lambda: (self.tasks / "asleep").exists() or process.poll() is not None)
        assert process.poll() is None, self.output()
        return process, psutil.Process(process.pid).children(recursive=True)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def rows(self) -> list[TrialRow]:
        return read_table(self.out / "trials.parquet")


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, "timed out"
        time.sleep(0.2)


def assert_all_end(processes: list[psutil.Process], seconds: float = 40.0) -> None:
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive


def without_times(rows: list[TrialRow]) -> list[object]:
    return [(r.trial, r.name, r.status, r.fitness, r.reason, r.weights, r.parent) for r in rows]


@pytest.fixture
def make_search(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, moody_tasks: MoodyTasks
) -> Iterator[Callable[..., Search]]:
    made: list[Search] = []

    def make(moods: str, **keys: Any) -> Search:
        made.append(Search(tmp_path, tiny_videos, tiny_cache, moody_tasks(moods), **keys))
        return made[-1]

    yield make
    for search in made:
        search.end()


def test_a_resume_after_kill_9_repeats_no_finished_trial(
    make_search: Callable[[str], Search],
) -> None:
    killed = make_search("fine fine sleep")
    process, children = killed.start_and_wait_for_sleep()
    finished = [row for row in killed.rows() if row.status == "complete"]
    assert [row.trial for row in finished] == [0, 1]
    process.kill()
    process.wait()

    assert killed.run("--resume") == 0, killed.output()
    rows = killed.rows()
    assert [
        row for row in rows if row in finished
    ] == finished  # with the same seconds: not run again
    moods = [mood for _, mood in read_moody_log(killed.tasks)]
    assert moods == ["fine", "fine", "sleep", "fine", "fine", "fine"]  # 2 again, 3, the winner
    load_encoder(killed.out / "winner" / "encoder")

    assert_as_if_never_killed(killed)
    assert_all_end(children, TIMEOUT)  # Ray's agents wait a minute for their dead head


def test_a_population_killed_in_a_child_trial_is_unchanged(
    make_search: Callable[..., Search],
) -> None:
    sampler = {"name": "pbt", "population": 4}
    keys: dict[str, Any] = {"sampler": sampler, "trials": 9}
    killed = make_search("fine fine nan fine fine fine sleep", **keys)
    process, _ = killed.start_and_wait_for_sleep()
    process.kill()
    process.wait()
    assert killed.run("--resume") == 0, killed.output()
    rows = {row.trial: row for row in killed.rows()}
    assert rows[2].status == "failed"
    parents = [rows[number].parent for number in range(4, 9)]
    assert None not in parents
    assert 2 not in parents, "a failed trial is not inherited"
    moods = [mood for _, mood in read_moody_log(killed.tasks)]
    assert moods[6:] == ["sleep", *["fine"] * 4], "trial 6 again, 7, 8, the winner"
    (killed.tasks / "moods").write_text("fine fine nan")
    assert_as_if_never_killed(killed, **keys)


def assert_as_if_never_killed(killed: Search, **keys: Any) -> None:
    """Check that a search that was never killed has the same table."""
    whole = Search(killed.out.parent, *_sources(killed), **keys)
    whole.out = killed.out.with_name("whole")
    whole.words[whole.words.index("--out") + 1] = str(whole.out)
    assert whole.run() == 0, whole.output()
    rows = without_times(killed.rows())
    for there, here in zip(without_times(whole.rows()), rows, strict=True):
        assert there == here


def _sources(search: Search) -> tuple[Path, Path, Path]:
    words = search.words
    return tuple(Path(words[words.index(key) + 1]) for key in ("--data", "--cache", "--tasks"))  # type: ignore[return-value]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_prints_how_to_resume(
    make_search: Callable[[str], Search], number: signal.Signals
) -> None:
    search = make_search("fine sleep")
    process, children = search.start_and_wait_for_sleep()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C on a terminal reaches the whole group
    else:
        process.send_signal(number)
    assert process.wait(TIMEOUT) == 130, search.output()
    assert "Resume with:" in search.output()
    assert "--resume" in search.output()
    assert "Traceback" not in search.output()
    assert_all_end(children)
    assert [row.trial for row in search.rows() if row.status == "complete"] == [0]


def test_starting_the_same_run_twice_changes_nothing(
    make_search: Callable[[str], Search],
) -> None:
    search = make_search("")
    assert search.run() == 0, search.output()
    before = {p: p.read_bytes() for p in search.out.rglob("*") if p.is_file()}
    assert search.run() == 2
    assert "add --resume" in search.output()
    assert search.run("--resume", "--seed", "1") == 2
    assert "seed: 0 there, 1 given" in search.output()
    assert {p: p.read_bytes() for p in search.out.rglob("*") if p.is_file()} == before
    stamp = (search.out / "winner" / "encoder" / "model.safetensors").stat().st_mtime_ns
    assert search.run("--resume") == 0, search.output()
    assert (search.out / "winner" / "encoder" / "model.safetensors").stat().st_mtime_ns == stamp
