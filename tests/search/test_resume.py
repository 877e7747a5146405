"""A search that is killed and resumed equals one that was never interrupted."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from evossl.search.study import Study
from evossl.search.table import TrialRow
from tests.helpers import killable_search
from tests.helpers.killable_search import run_search
from tests.helpers.search_loops import run, tell

Start = Callable[..., Study]
SAMPLERS = ["cmaes", "ga", "random", "tpe", "nsga2", "pbt"]
ROOT = Path(__file__).parent.parent.parent
DRIVER = "tests.helpers.killable_search"


def _killed(folder: Path, name: str, trials: int, in_flight: int, kill: str) -> None:
    command = [sys.executable, "-m", DRIVER, str(folder), name, str(trials), str(in_flight), kill]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _rows(folder: Path) -> list[TrialRow]:
    with Study.open(folder) as study:
        return study.rows()


def test_a_search_killed_three_times_has_the_same_table(tmp_path: Path) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted" / "run", tmp_path / "resumed" / "run"
    uninterrupted.parent.mkdir()
    resumed.parent.mkdir()
    run_search(uninterrupted, "cmaes", 60, 1, "never")
    _killed(resumed, "cmaes", 60, 1, "asked:11")
    _killed(resumed, "cmaes", 60, 1, "torn:23")
    _killed(resumed, "cmaes", 60, 1, "halfway:41")
    run_search(resumed, "cmaes", 60, 1, "never")
    assert _rows(resumed) == _rows(uninterrupted)
    started = Counter((resumed.parent / "started").read_text().split())
    assert {number for number, times in started.items() if times > 1} == {"11", "23"}


def test_resume_loses_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    finished: set[int] = set()
    for kill in ("told:20", "asked:50"):
        _killed(tmp_path / "run", "cmaes", 80, 4, kill)
        rows = _rows(tmp_path / "run")
        running = [row for row in rows if row.status == "running"]
        assert 3 <= len(running) <= 4
        with Study.open(tmp_path / "run") as study:
            again = [study.ask() for _ in running]
        assert [(p.number, p.weights) for p in again] == [(r.trial, r.weights) for r in running]
        finished |= {row.trial for row in rows} - {row.trial for row in running}
    before = Counter(map(int, (tmp_path / "started").read_text().split()))
    run_search(tmp_path / "run", "cmaes", 80, 4, "never")
    rows = _rows(tmp_path / "run")
    assert [row.trial for row in rows] == list(range(80))
    assert all(row.status in ("complete", "failed") for row in rows)
    started = Counter(map(int, (tmp_path / "started").read_text().split()))
    assert not (started - before).keys() & finished
    assert sum(started.values()) <= 80 + 2 * 4


def test_resume_keeps_the_distribution_of_proposals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The trials of a search depend on each other, so a search is one sample: its mean weights.
    monkeypatch.setattr(killable_search, "_die", _interrupt)
    means: dict[str, list[list[float]]] = {"uninterrupted": [], "resumed": []}
    for kind, kills in (("uninterrupted", ()), ("resumed", ("told:10", "asked:24"))):
        for seed in range(8):
            folder = tmp_path / f"{kind}{seed}" / "run"
            folder.parent.mkdir()
            for kill in kills:
                with pytest.raises(KeyboardInterrupt):
                    run_search(folder, "cmaes", 36, 4, kill, seed)
            run_search(folder, "cmaes", 36, 4, "never", seed)
            late_ND = np.array([list(row.weights.values()) for row in _rows(folder)[24:]])
            means[kind].append(late_ND.mean(axis=0).tolist())
    uninterrupted_ND, resumed_ND = np.array(means["uninterrupted"]), np.array(means["resumed"])
    evolving = np.ptp(uninterrupted_ND, axis=0) > 0
    assert evolving.sum() == 4
    for uninterrupted, resumed in zip(
        uninterrupted_ND.T[evolving], resumed_ND.T[evolving], strict=True
    ):
        assert ks_2samp(uninterrupted, resumed).pvalue > 0.01


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_stopped_after_any_trial_is_unchanged(
    start: Start, tmp_path: Path, name: str
) -> None:
    uninterrupted = start(name, folder="uninterrupted")
    run(uninterrupted, 50)
    study = start(name, folder="resumed")
    for until in (1, 12, 33, 34, 50):
        run(study, until)
        study.close()
        study = Study.open(tmp_path / "resumed")
    rows = study.rows()
    study.close()
    assert rows == uninterrupted.rows()


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_depend_on_the_order_of_completion(
    start: Start, tmp_path: Path, name: str
) -> None:
    study, rng = start(name), np.random.default_rng(2)
    in_flight = [study.ask() for _ in range(6)]
    for _ in range(40):
        tell(study, in_flight.pop(rng.integers(6)))
        in_flight.append(study.ask())
    tell(study, in_flight.pop(3))
    expected = study.ask()
    rows = study.rows()
    study.close()
    journal = tmp_path / "run" / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"params"' in lines[-1]  # the last ask
    journal.write_bytes(b"".join(lines[:-1]))
    with Study.open(tmp_path / "run") as resumed:
        assert [resumed.ask() for _ in range(5)] == in_flight
        assert resumed.ask() == expected
        assert resumed.rows() == rows
