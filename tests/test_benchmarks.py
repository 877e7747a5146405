"""The benchmarks' own arithmetic; that the one for GPUs runs where is neither GPU nor Ray."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
WITHOUT_RAY = """
import os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))  # as Python does for a script
for name in ("ray", "optuna", "cmaes"):
    sys.modules[name] = None
sys.argv = [sys.argv[1], "--device", "cpu", "--tiny"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import simulate_cluster

    return simulate_cluster


def ideal(simulate: ModuleType, **keys: float) -> object:
    """Machines that lose nothing, but for what `keys` say."""
    nothing = dict.fromkeys(
        ("tell_and_ask", "report", "start", "warm", "dying", "straggling", "spread", "cache_gb"),
        0.0,
    )
    return simulate.Constants(**nothing | {"trial": 10.0} | keys)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_machines_that_lose_nothing_are_busy_until_the_trials_run_out(
    simulate: ModuleType, workers: int
) -> None:
    found = simulate.Simulation(ideal(simulate), workers, [10.0] * 20).run()
    assert found.hours * 3600 == pytest.approx(200 / workers)
    assert found.busy == pytest.approx(1)
    assert found.driver == 0


def test_shares_of_the_workers_time_add_up(simulate: ModuleType) -> None:
    constants = simulate.Constants(trial=30.0, start=5.0, cache_gb=20.0, dying=0.1)
    lengths = simulate.draw_lengths(constants, 200)
    for barrier in (False, True):
        found = simulate.Simulation(constants, 8, lengths, barrier=barrier).run()
        parts = (found.busy, found.starting, found.filling, found.waiting, found.lost, found.tail)
        assert sum(parts) == pytest.approx(1, abs=0.01)


def test_barriers_waste_what_the_shorter_trials_of_a_generation_leave(simulate: ModuleType) -> None:
    found = simulate.Simulation(ideal(simulate), 2, [10.0, 5.0] * 4, barrier=True).run()
    assert found.hours * 3600 == pytest.approx(40)
    assert found.busy == pytest.approx(60 / 80)


def test_a_slow_driver_is_found_out(simulate: ModuleType) -> None:
    constants = ideal(simulate, tell_and_ask=1.0)
    found = simulate.Simulation(constants, 50, [10.0] * 500).run()
    assert found.bottleneck == "driver"
    assert found.driver == pytest.approx(1, abs=0.05)


def test_the_rule_replayed_over_finished_trials_keeps_the_best_and_counts_its_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import stopping

    from evossl.config import Stopping
    from evossl.search.table import TrialRow

    rows = [
        TrialRow(i, "", "complete", score, None, 1.0, {"rung1": score}, {}, completed=i)
        for i, score in enumerate([4.0, 3.0, 5.0, 6.0])
    ]
    found = stopping.replay(rows, Stopping(rungs=(0.25,), keep_fraction=0.5, min_trials=2))
    assert (found.cut, found.best) == (0.5, 1)
    assert found.saved == pytest.approx(0.5 * 0.75)


@pytest.mark.slow
def test_the_benchmark_for_gpus_runs_without_one_and_without_ray() -> None:
    words = [sys.executable, "-c", WITHOUT_RAY, str(BENCHMARKS / "gpu.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("| ") > 10


def test_ten_tasks_share_their_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import many_tasks

    assert len(many_tasks.tasks_that_share(many_tasks.tasks_on_rgb())) >= 10
