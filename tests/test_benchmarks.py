"""The arithmetic of the benchmarks; and the GPU benchmark runs without a GPU and without Ray."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evossl.config import Stopping

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RUN_WITHOUT_RAY = """
import os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))  # as Python does for a script
for name in ("ray", "optuna", "cmaes"):
    sys.modules[name] = None
sys.argv = [sys.argv[1], "--device", "cpu", "--tiny"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def benchmarks_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let benchmarks be imported by name, as they import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def simulate() -> ModuleType:
    import simulate_cluster

    return simulate_cluster


def lossless(simulate: ModuleType, **keys: float) -> object:
    """Machines without any loss of time, except for what `keys` say."""
    names = ("tell_and_ask", "report", "start", "warm", "spread", "cache_gb")
    zeros = dict.fromkeys((*names, "death_fraction", "straggler_fraction"), 0.0)
    return simulate.Constants(**zeros | {"trial": 10.0} | keys)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_without_losses_are_always_busy(simulate: ModuleType, workers: int) -> None:
    found = simulate.Simulation(lossless(simulate), workers, [10.0] * 20).run()
    assert found.hours * 3600 == pytest.approx(200 / workers)
    assert found.busy == pytest.approx(1)
    assert found.driver == 0


def test_shares_of_the_workers_time_add_up_to_1(simulate: ModuleType) -> None:
    constants = simulate.Constants(trial=30.0, start=5.0, cache_gb=20.0, death_fraction=0.1)
    lengths = simulate.draw_lengths(constants, 200)
    for barrier in (False, True):
        found = simulate.Simulation(constants, 8, lengths, barrier=barrier).run()
        parts = (found.busy, found.starting, found.filling, found.waiting, found.lost, found.tail)
        assert sum(parts) == pytest.approx(1, abs=0.01)


def test_a_barrier_wastes_the_time_after_short_trials(simulate: ModuleType) -> None:
    found = simulate.Simulation(lossless(simulate), 2, [10.0, 5.0] * 4, barrier=True).run()
    assert found.hours * 3600 == pytest.approx(40)
    assert found.busy == pytest.approx(60 / 80)


def test_a_slow_driver_is_named_as_the_bottleneck(simulate: ModuleType) -> None:
    constants = lossless(simulate, tell_and_ask=1.0)
    found = simulate.Simulation(constants, 50, [10.0] * 500).run()
    assert found.bottleneck == "driver"
    assert found.driver == pytest.approx(1, abs=0.05)


def test_a_replayed_rule_stops_the_worst_and_counts_steps() -> None:
    import early_stopping

    trials = [{250: score, 1000: score} for score in (4.0, 3.0, 5.0, 6.0)]
    rule = Stopping(rungs=(0.25,), keep_fraction=0.5, min_trials=2)
    found = early_stopping.replay(trials, rule)
    assert (found.stopped, found.rank) == (0.5, 1)
    assert found.saved == pytest.approx(0.5 * 0.75)


def test_at_least_ten_methods_share_their_views() -> None:
    import many_tasks_cost

    assert len(many_tasks_cost.sharing_methods(many_tasks_cost.methods_on_rgb())) >= 10


def test_every_row_of_make_bench_has_a_result() -> None:
    import performance

    results = performance.read_results()
    assert {row.key for row in performance.ALL_ROWS} == set(results)
    table = performance.table(performance.ALL_ROWS, results)
    assert len(table.splitlines()) == 2 + len(results)


def test_every_method_has_trainings_on_all_its_places(tmp_path: Path) -> None:
    import method_jobs

    jobs = list(method_jobs.jobs_of("real", tmp_path, 1))
    assert {job.method for job in jobs} == set(method_jobs.methods())
    for job in jobs:
        assert list(job.space().tasks) == [job.method]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_without_gpu_and_ray() -> None:
    words = [sys.executable, "-c", RUN_WITHOUT_RAY, str(BENCHMARKS / "gpu_step.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("| ") > 10
