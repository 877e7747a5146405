"""Trials without Ray: complete or failed with a reason, and never an exception of their own."""

import gc
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evossl.errors import RunError, UserError
from evossl.evaluation.audit import DIRECTIONS
from evossl.experiment import trial as trial_module
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.trial import iterate_trial, run_trial
from evossl.experiment.trial_spec import RungResult, TrialResult, TrialSpec, rung_indicator
from evossl.io.spaces import load_space, parse_space
from evossl.task import TaskBatch
from evossl.task_loader import load_catalogue
from evossl.training import checkpoint as checkpoint_module
from evossl.training.history import read_history
from evossl.training.model import MultiTaskModel
from evossl.types import Features
from tests.helpers.tiny_runs import WEIGHTS, make_run, tiny_space


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path) -> RunSpec:
    return make_run(tmp_path_factory.mktemp("runs") / "run", tiny_videos, tiny_cache)


def with_space(run: RunSpec, **keys: Any) -> RunContext:
    """Open the same run with other keys in its space."""
    space = tiny_space(**keys).model_dump_json()
    return RunContext.open(RunSpec(**asdict(run) | {"space": space}))


@pytest.fixture(scope="module")
def context(run: RunSpec) -> RunContext:
    return RunContext.open(run)


def run_short_trial(context: RunContext, number: int = 0, steps: int = 1) -> TrialResult:
    return run_trial(TrialSpec(number, WEIGHTS, context.run, steps, log_every=1), context)


def is_failed(result: TrialResult) -> bool:
    return result.fitness is None and result.reason is not None


def break_loss(monkeypatch: pytest.MonkeyPatch, raising: BaseException | None = None) -> None:
    """Make SimCLR's loss NaN, or let it raise."""
    task = load_catalogue(None)["simclr"]
    plain = task.loss

    def loss(self: Any, seen: TaskBatch) -> Tensor:
        if raising is not None:
            raise raising
        return plain(self, seen) * float("nan")

    monkeypatch.setattr(task, "loss", loss)


def test_a_trial_has_a_finite_fitness_and_every_indicator(context: RunContext) -> None:
    result = run_short_trial(context)
    assert result.reason is None
    assert result.fitness is not None
    assert math.isfinite(result.fitness)
    assert DIRECTIONS.keys() - {"fitness"} <= result.indicators.keys()
    assert all(math.isfinite(value) for value in result.indicators.values())
    assert result.seconds > 0
    assert result.clips_per_second > 0


def test_a_trial_writes_history_checkpoint_and_features(context: RunContext) -> None:
    run_short_trial(context, number=1, steps=2)
    folder = Path(context.run.folder) / "trials" / "1"
    assert [line["step"] for line in read_history(folder / "history.jsonl")] == [1, 2]
    names = {path.name for path in folder.iterdir()}
    assert names == {"history.jsonl", "checkpoint", "features.safetensors", "clusters.json"}


def test_a_trial_is_a_function_of_its_spec(context: RunContext) -> None:
    def scores(result: TrialResult) -> dict[str, float]:
        return {name: score for name, score in result.indicators.items() if name != "seconds"}

    first = run_short_trial(context, number=2)
    assert scores(run_short_trial(context, number=2)) == scores(first)
    spec = TrialSpec(2, WEIGHTS, context.run, 1, seed=context.run.seed + 1, log_every=1)
    other = run_trial(spec, context)
    assert scores(other)["alignment"] != scores(first)["alignment"]


def test_scoring_at_rungs_does_not_change_the_training(context: RunContext) -> None:
    def losses(number: int) -> list[Any]:
        path = Path(context.run.folder) / "trials" / str(number) / "history.jsonl"
        return [line["loss"] for line in read_history(path)]

    plain = TrialSpec(30, WEIGHTS, context.run, 4, log_every=1)
    unscored = run_trial(plain, context)
    rungs: list[RungResult] = []
    steps = iterate_trial(replace(plain, number=31, rungs=(2, 3)), context)
    try:
        while True:
            report = next(steps)
            rungs += [report] if isinstance(report, RungResult) else []
    except StopIteration as stop:
        result: TrialResult = stop.value
    assert losses(31) == losses(30)
    assert result.fitness == unscored.fitness
    assert [(rung.rung, rung.step) for rung in rungs] == [(1, 2), (2, 3)]
    shown = {rung_indicator(rung.rung): rung.result.fitness for rung in rungs}
    assert {name: result.indicators[name] for name in shown} == shown
    assert rungs[0].result.reason == "stopped early at step 2 of 4"


def test_a_trial_of_all_tasks_has_a_fitness(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path
) -> None:
    space = load_space("everything").model_dump(mode="json")
    clip = {"frames": 8, "size": 32, "stretch": 24, "mel_bands": 32}
    keys = {"streams": space["streams"], "tasks": space["tasks"], "clip": clip}
    run = make_run(tmp_path / "run", tiny_videos, tiny_cache, **keys)
    context = RunContext.open(run)
    ones = {term.name: 1.0 for term in context.resolved.terms}
    assert len(ones) == 140
    context = context.with_gradient_scales(ones)
    result = run_trial(TrialSpec(0, ones, context.run, 1), context)
    assert result.reason is None
    assert result.fitness is not None


def test_a_loss_that_is_not_finite_fails_the_trial_by_name(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch)
    result = run_short_trial(context)
    assert is_failed(result)
    assert result.reason == "the loss of simclr.rgb is not finite at step 1"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_fails_with_the_remedy(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_loss(monkeypatch, error)
    result = run_short_trial(context)
    assert is_failed(result)
    assert "out of memory" in str(result.reason)
    assert "batch_size" in str(result.reason)


class _Constant(nn.Module):
    """An encoder whose embeddings all have the same value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, pixels: Tensor) -> Features:
        return Features(self.weight.expand(len(pixels), 8), {})


@pytest.mark.parametrize(
    ("value", "words"), [(1.0, "collapsed"), (float("nan"), "features not finite")]
)
def test_features_that_cannot_be_scored_fail_the_trial(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, value: float, words: str
) -> None:
    plain = trial_module.held_out_features
    monkeypatch.setattr(
        trial_module, "held_out_features", lambda _, *rest: plain(_Constant(value), *rest)
    )
    result = run_short_trial(context)
    assert is_failed(result)
    assert words in str(result.reason)


@pytest.mark.parametrize("body", ["raise KeyError('no such thing')", "return 'many'", "return nan"])
def test_a_users_fitness_that_fails_fails_the_trial(
    context: RunContext, tmp_path: Path, body: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from math import nan\ndef fitness(features):\n    {body}\n", encoding="utf-8")
    result = run_short_trial(with_space(context.run, fitness={"name": str(file)}))
    assert is_failed(result)
    assert str(file) in str(result.reason) or "fitness is nan" in str(result.reason)


def test_a_users_fitness_is_the_trials_fitness(context: RunContext, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def fitness(features):\n    return -7.25\n", encoding="utf-8")
    assert run_short_trial(with_space(context.run, fitness={"name": str(file)})).fitness == -7.25


def test_a_deadline_grows_with_the_steps(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = with_space(context.run, budget={"steps": 2, "deadline_seconds": 1e-6})
    result = run_short_trial(short, steps=2)
    assert is_failed(result)
    assert "past its deadline of 1e-06 s at step 1 of 2" in str(result.reason)
    result = run_short_trial(short, steps=8)
    assert "past its deadline of 4e-06 s" in str(result.reason)  # four times the steps


def test_a_full_disk_is_not_the_trials_failure(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(RunError, match="disk is full"):
        run_short_trial(context, number=3)


def test_weights_that_do_not_fit_the_space_are_refused(context: RunContext) -> None:
    with pytest.raises(UserError, match="no loss weight for arrow_of_time"):
        run_trial(TrialSpec(0, {"simclr.rgb": 1.0}, context.run, 1), context)


def test_a_trial_reports_the_progress_of_its_scoring(
    context: RunContext,
) -> None:
    events: list[Any] = []

    def on_scoring() -> Callable[[int, int], None]:
        events.append("scoring")
        return lambda *done: events.append(done)

    spec = TrialSpec(5, WEIGHTS, context.run, 2, log_every=1)
    result = run_trial(spec, context, lambda report: events.append(report.step), on_scoring)
    assert result.fitness is not None
    assert events[:3] == [1, 2, "scoring"]
    clips = len(context.data.selection.videos)
    assert events[-1] == (clips, clips)


def test_an_interrupted_trial_leaves_no_thread(context: RunContext) -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_trial(TrialSpec(4, WEIGHTS, context.run, 50, log_every=1), context, stop)
    gc.collect()
    assert threading.active_count() == before


def test_a_warm_worker_does_not_leak_models_or_files(tmp_path: Path, tiny_videos: Path) -> None:
    run = make_run(tmp_path / "run", tiny_videos, tmp_path / "cache")

    def held() -> tuple[int, int, int]:
        gc.collect()
        models = sum(type(thing) is MultiTaskModel for thing in gc.get_objects())
        maps = sum(run.cache in line for line in Path("/proc/self/maps").read_text().splitlines())
        return models, maps, len(list(Path("/proc/self/fd").iterdir()))

    models_before, _, _ = held()  # exceptions of other tests may hold some
    context = RunContext.open(run)
    context.data.selection.loader.clips(range(len(context.data.selection.videos)), 0)
    run_short_trial(context)
    after_one = held()
    for number in range(4):
        run_short_trial(context, number)
    assert held() == after_one
    assert after_one[0] == models_before
    assert after_one[1] == 0  # no video stays mapped


@pytest.mark.parametrize(
    "statement", ["import evossl.experiment.trial", "from evossl import load_encoder"]
)
def test_a_trial_imports_neither_ray_nor_optuna(statement: str) -> None:
    code = (
        f"{statement}\nimport sys\nprint(sorted({{'ray', 'optuna', 'cmaes'}} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_a_trial_spec_survives_a_round_trip_through_json(run: RunSpec) -> None:
    spec = TrialSpec(7, WEIGHTS, run, 2)
    plain = json.loads(json.dumps(asdict(spec)))
    plain |= {"run": RunSpec(**plain["run"]), "rungs": tuple(plain["rungs"])}
    assert TrialSpec(**plain) == spec
    assert parse_space(json.loads(spec.run.space), "spec") == tiny_space()
