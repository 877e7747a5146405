"""The training loop: exact resume, failures with a reason, and reports."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from evossl.errors import RunError, UserError
from evossl.optim.optimisers import build_optimiser
from evossl.task import TaskBatch
from evossl.training import checkpoint as checkpoint_module
from evossl.training import loop
from evossl.training.checkpoint import load_checkpoint, load_encoder_state
from evossl.training.history import StepReport, read_history
from evossl.training.loop import TrainingFailedError, train
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from tests.helpers.training_cases import MemoryLoader, make_model, make_space

TASKS = {"simclr": {"places": ["rgb"]}, "reconstruction": {"places": ["rgb"]}}
WEIGHTS = {"simclr.rgb": 0.5, "reconstruction.rgb": 0.5}
SCALES = {"simclr.rgb": 20.0, "reconstruction.rgb": 1.0}
STEPS = 4


def start(
    folder: Path, steps: int = STEPS, model: MultiTaskModel | None = None, **keys: Any
) -> Iterator[StepReport]:
    """Start a training on clips in memory that reports every step and saves every second one."""
    resume = keys.pop("resume", False)
    deadline = keys.pop("deadline", None)
    space = make_space(TASKS, **keys)
    schedule = Schedule(steps, log_every=1, save_every=2, deadline_seconds=deadline)
    loader: Any = MemoryLoader()
    objective = Objective(WEIGHTS, SCALES)
    return train(model or make_model(space), loader, objective, schedule, folder, resume=resume)


def losses(folder: Path) -> list[Any]:
    return [
        (line["step"], line["loss"], line["grad_norm"])
        for line in read_history(folder / "history.jsonl")
    ]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars"])
def test_a_resumed_training_has_identical_losses(tmp_path: Path, optimiser: str) -> None:
    keys: dict[str, Any] = {"optimiser": {"name": optimiser, "lr": 0.01}}
    whole, parts = (make_model(make_space(TASKS, **keys)) for _ in range(2))
    list(start(tmp_path / "whole", model=whole, **keys))
    interrupted = start(tmp_path / "parts", **keys)
    for report in interrupted:
        if report.step == 3:  # one step past the last checkpoint
            break
    interrupted.close()  # type: ignore[attr-defined]
    list(start(tmp_path / "parts", model=parts, resume=True, **keys))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == STEPS
    there = whole.state_dict()
    assert all(torch.equal(there[name], value) for name, value in parts.state_dict().items())


def test_accumulated_gradients_are_the_mean_over_batches(tmp_path: Path) -> None:
    """Without clipping, a step of two batches moves weights by the mean of their gradients."""
    keys: dict[str, Any] = {
        "optimiser": {
            "name": "sgd",
            "lr": 0.1,
            "warmup_fraction": 0.0,
            "weight_decay": 0.0,
            "clip_norm": None,
        }
    }
    space = make_space(TASKS, training={"accumulate": 2, "batch_size": 6}, **keys)
    moved = make_model(space)
    before = {name: p.detach().clone() for name, p in moved.named_parameters()}
    list(start(tmp_path, steps=1, model=moved))
    fresh = make_model(space)
    for part in (0, 1):
        result = fresh.losses(MemoryLoader().batch(part), part, 0.0)
        total = sum(result.losses[n] * WEIGHTS[n] / SCALES[n] for n in WEIGHTS)
        (total / 2).backward()  # type: ignore[union-attr]
    gradient = {n: p.grad for n, p in fresh.named_parameters()}
    for name, parameter in moved.named_parameters():
        if gradient[name] is not None:
            step = (before[name] - parameter.detach()) / (0.1 * 1.9)  # Nesterov's first: 1 + 0.9
            torch.testing.assert_close(step, gradient[name], rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_fails_with_its_name(tmp_path: Path) -> None:
    model = make_model(make_space(TASKS))
    task = model.task("reconstruction.rgb")
    plain = task.loss

    def broken(seen: TaskBatch) -> Tensor:
        return plain(seen) * float("nan")

    task.loss = broken  # type: ignore[method-assign]
    with pytest.raises(TrainingFailedError, match=r"loss of reconstruction\.rgb .* step 1"):
        list(start(tmp_path, model=model))


def test_time_spent_on_a_report_is_not_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))
    reports = start(tmp_path, deadline=60.0)
    for _ in range(STEPS):
        assert next(reports).seconds < 1.0
        now += 100.0


def test_a_passed_deadline_fails_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match="deadline of 1e-06 s at step 1 of 4"):
        list(start(tmp_path, deadline=1e-6))


def test_the_history_has_every_loss_raw_and_weighted(tmp_path: Path) -> None:
    list(start(tmp_path, steps=2))
    line = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[0])
    assert line["loss"].keys() == WEIGHTS.keys()
    for name, raw in line["loss"].items():
        assert line["weighted"][name] == pytest.approx(raw * WEIGHTS[name] / SCALES[name], rel=1e-5)
    assert line["total"] == pytest.approx(sum(line["weighted"].values()), rel=1e-5)


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(tmp_path)
    for report in running:
        if report.step == 3:
            break
    saved = (tmp_path / "checkpoint" / "model.safetensors").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(RunError, match=r"disk is full"):
        list(running)
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == saved
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    list(start(tmp_path, steps=2))
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"junk")
    space = make_space(TASKS)
    model = make_model(space)
    optimiser = build_optimiser(model.parameters(), [], space.optimiser)
    with pytest.raises(UserError, match="a damaged checkpoint"):
        load_checkpoint(tmp_path / "checkpoint", model, optimiser)
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_encoder_state(tmp_path / "nothing", model.encoders["rgb"], "rgb")


def test_each_steps_learning_rate_is_the_schedules(tmp_path: Path) -> None:
    reports = list(start(tmp_path, steps=4, optimiser={"lr": 2e-3, "warmup_fraction": 0.5}))
    assert [report.lr for report in reports] == pytest.approx([1e-3, 2e-3, 2e-3, 1e-3])


def test_training_lowers_the_objective(tmp_path: Path) -> None:
    reports = list(start(tmp_path, steps=16, optimiser={"lr": 0.003}))
    early = sum(report.total for report in reports[:4])
    assert sum(report.total for report in reports[-4:]) < early


@pytest.mark.parametrize("flushed", [False, True])
def test_flushing_denormals_is_restored_for_the_caller(tmp_path: Path, flushed: bool) -> None:
    torch.set_flush_denormal(flushed)
    try:
        for _ in start(tmp_path):
            assert bool(torch.tensor(1e-39) * 1) != flushed
        assert bool(torch.tensor(1e-39) * 1) != flushed
    finally:
        torch.set_flush_denormal(False)
