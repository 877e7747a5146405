"""A training that inherits continues another one: to the bit if the terms are the same."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evossl.errors import RunError, UserError
from evossl.training.checkpoint import load_checkpoint
from evossl.training.history import read_history
from evossl.training.loop import train
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.schedule import Inheritance, Schedule
from tests.helpers.training_cases import MemoryLoader, make_model, make_space

SIMCLR, MOCO, PIXELS = "simclr.rgb", "moco.rgb", "reconstruction.rgb"
TASKS = {name: {"places": ["rgb"]} for name in ("simclr", "moco", "reconstruction")}
BACKBONE = {"name": "c3d", "width": 2}
STEPS = 2
FIRST = Schedule(STEPS, log_every=1, part="first")


@dataclass(frozen=True)
class Uninterrupted(Schedule):
    """A training of several trials' steps whose schedules stand still after those of the first."""

    def clock(self, step: int) -> tuple[int, int]:
        return min(step, STEPS), 2 * STEPS


def new_model(terms: set[str], **keys: Any) -> MultiTaskModel:
    return make_model(make_space(TASKS, **{"backbone": BACKBONE} | keys), terms)


def run(
    folder: Path, terms: set[str], schedule: Schedule, resume: bool = False, **keys: Any
) -> MultiTaskModel:
    """Train the terms on clips in memory, and return the model."""
    model = new_model(terms, **keys)
    loader: Any = MemoryLoader()
    ones = dict.fromkeys(terms, 1.0)
    list(train(model, loader, Objective(ones, ones), schedule, folder, resume=resume))
    return model


def after(folder: Path, steps: int = STEPS, **keys: Any) -> Schedule:
    """Return the schedule of a training that inherits from the one in `folder`."""
    inherits = Inheritance.of(folder / "checkpoint")
    return Schedule(steps, log_every=1, inherits=inherits, **{"part": "middle"} | keys)


def tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint: weights, buffers and the optimiser's state."""
    parts = ("model", "optimiser")
    files = {part: load_file(folder / "checkpoint" / f"{part}.safetensors") for part in parts}
    return {f"{part}.{name}": x for part, file in files.items() for name, x in file.items()}


def losses(folder: Path) -> list[Any]:
    lines = read_history(folder / "history.jsonl")
    return [(line["loss"], line["grad_norm"], line["lr"]) for line in lines]


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars"])
def test_inherited_training_equals_an_uninterrupted_one(tmp_path: Path, optimiser: str) -> None:
    keys: dict[str, Any] = {"optimiser": {"name": optimiser, "lr": 0.01}}
    terms = {MOCO, PIXELS}
    run(tmp_path / "whole", terms, Uninterrupted(3 * STEPS, log_every=1), **keys)
    run(tmp_path / "a", terms, FIRST, **keys)
    run(tmp_path / "b", terms, after(tmp_path / "a"), **keys)
    run(tmp_path / "c", terms, after(tmp_path / "b"), **keys)
    parts = [line for name in "abc" for line in losses(tmp_path / name)]
    assert parts == losses(tmp_path / "whole")
    assert len(parts) == 3 * STEPS
    steps = [
        json.loads((tmp_path / n / "checkpoint/state.json").read_text())["step"] for n in "abc"
    ]
    assert steps == [2, 4, 6]
    assert differences(tensors(tmp_path / "c"), tensors(tmp_path / "whole")) == []


def test_a_training_that_inherits_resumes_exactly(tmp_path: Path) -> None:
    run(tmp_path / "a", {MOCO}, FIRST)
    run(tmp_path / "b", {MOCO}, after(tmp_path / "a", 4, part="last"))
    schedule = after(tmp_path / "a", 4, part="last", save_every=2)
    model = new_model({MOCO})
    loader: Any = MemoryLoader()
    reports = train(model, loader, Objective({MOCO: 1.0}, {MOCO: 1.0}), schedule, tmp_path / "c")
    while next(reports).step < 3:
        pass
    reports.close()
    run(tmp_path / "c", {MOCO}, schedule, resume=True)
    assert losses(tmp_path / "c") == losses(tmp_path / "b")
    assert differences(tensors(tmp_path / "c"), tensors(tmp_path / "b")) == []


def at_the_first_step(folder: Path, terms: set[str], schedule: Schedule) -> MultiTaskModel:
    """Return the model as it is before the first step of a training."""
    model, loader = new_model(terms), MemoryLoader()
    before: dict[str, Tensor] = {}
    plain = model.losses

    def spied(*args: Any) -> Any:
        before.update({name: value.clone() for name, value in model.state_dict().items()})
        return plain(*args)

    model.losses = spied  # type: ignore[method-assign]
    ones = dict.fromkeys(terms, 1.0)
    reports = train(model, cast(Any, loader), Objective(ones, ones), schedule, folder)
    next(reports)
    reports.close()
    model.load_state_dict(before)
    return model


def state_of(model: MultiTaskModel, part: str) -> dict[str, Tensor]:
    return {n.removeprefix(part): x for n, x in model.state_dict().items() if n.startswith(part)}


def test_common_terms_are_inherited_and_new_ones_start(tmp_path: Path) -> None:
    parent = run(tmp_path / "a", {SIMCLR, PIXELS}, FIRST)
    child = at_the_first_step(tmp_path / "b", {SIMCLR, MOCO}, after(tmp_path / "a"))
    fresh = new_model({SIMCLR, MOCO})
    for part in ("encoders.rgb.", "heads.simclr/rgb."):
        assert differences(state_of(child, part), state_of(parent, part)) == [], part
        assert differences(state_of(child, part), state_of(fresh, part)) != [], part
    head = "heads.moco/rgb."
    assert differences(state_of(child, head), state_of(fresh, head)) == []
    momentum = state_of(child, "momentum.rgb.")
    assert differences(momentum, state_of(parent, "encoders.rgb.")) == [], "not the initial weights"


def test_a_term_that_was_dropped_starts_afresh(tmp_path: Path) -> None:
    run(tmp_path / "a", {SIMCLR, MOCO}, FIRST)
    run(tmp_path / "b", {SIMCLR}, after(tmp_path / "a"))
    assert not [name for name in tensors(tmp_path / "b") if "moco" in name or "momentum" in name]
    child = at_the_first_step(tmp_path / "c", {SIMCLR, MOCO}, after(tmp_path / "b"))
    fresh, head = new_model({SIMCLR, MOCO}), "heads.moco/rgb."
    assert differences(state_of(child, head), state_of(fresh, head)) == []


def test_new_terms_have_a_new_optimiser_state(tmp_path: Path) -> None:
    run(tmp_path / "a", {SIMCLR}, FIRST)
    run(tmp_path / "b", {SIMCLR, PIXELS}, after(tmp_path / "a"))
    steps = {n: int(x) for n, x in tensors(tmp_path / "b").items() if n.endswith(".step")}
    assert {n: step for n, step in steps.items() if step == STEPS}.keys() == {
        name for name in steps if "reconstruction" in name
    }
    assert {step for name, step in steps.items() if "encoders" in name} == {2 * STEPS}


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", {SIMCLR}, FIRST)
    with pytest.raises(RunError, match=r"continued: .* a checkpoint of another backbone"):
        run(tmp_path / "b", {SIMCLR}, after(tmp_path / "a"), backbone={"name": "c3d", "width": 4})
    assert not (tmp_path / "b" / "checkpoint").exists()


def test_the_schedules_stand_still_in_the_middle() -> None:
    inherits = Inheritance(Path(), step=30)
    first = Schedule(10, part="first")
    middle, last = (Schedule(10, part=part, inherits=inherits) for part in ("middle", "last"))  # type: ignore[arg-type]
    assert [first.at(step).progress for step in (0, 5, 9)] == [0.0, 0.25, 0.45]
    assert [middle.at(step).progress for step in (0, 9)] == [0.5, 0.5]
    assert [last.at(step).progress for step in (0, 5, 9)] == [0.5, 0.75, 0.95]
    assert [first.at(9).step, middle.at(9).step] == [9, 39]
    assert [Schedule(10).at(step).progress for step in (0, 5)] == [0.0, 0.5]


def test_the_learning_rate_is_constant_until_the_last(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"optimiser": {"name": "sgd", "lr": 1e-3, "warmup_fraction": 0.0}}
    run(tmp_path / "a", {SIMCLR}, FIRST, **keys)
    run(tmp_path / "b", {SIMCLR}, after(tmp_path / "a"), **keys)
    run(tmp_path / "c", {SIMCLR}, after(tmp_path / "b", part="last"), **keys)
    rates = [rate * 1e3 for name in "abc" for *_, rate in losses(tmp_path / name)]
    cosine = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in (0, 1, 2, 2, 2, 3)]
    assert rates == pytest.approx(cosine)


def test_a_checkpoint_names_the_parameters_it_holds(tmp_path: Path) -> None:
    run(tmp_path / "a", {SIMCLR}, replace(FIRST, steps=1))
    names = load_file(tmp_path / "a" / "checkpoint" / "optimiser.safetensors")
    assert "encoders.rgb" in "".join(names)
    other = new_model({SIMCLR})
    optimiser = torch.optim.AdamW(other.heads.parameters())
    with pytest.raises(UserError, match=r"another model: it has a parameter encoders\.rgb"):
        load_checkpoint(tmp_path / "a" / "checkpoint", other, optimiser)
