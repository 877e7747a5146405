"""Gradient conflict: cosines between terms, measured without changing the training."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from evossl.config import SearchSpace
from evossl.training import conflict, loop
from evossl.training.conflict import measure_conflict
from evossl.training.history import Conflict, StepReport, read_history
from evossl.training.loop import train
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from tests.helpers.training_cases import MemoryLoader, make_clips, make_model, make_space

REACHING = [
    "simclr.rgb", "order_binary.rgb", "multimodal_contrast.rgb+audio", "distill.flow->rgb.stage3",
]  # fmt: skip
THREE = {task: {"places": ["rgb"]} for task in ("simclr", "order_binary", "byol")}


def gradient_alone(space: SearchSpace, name: str) -> np.ndarray:
    """Gradient (P,) in a model of this term only; zeros for parameters that it does not reach."""
    model = make_model(space, {name})
    model.losses(make_clips(), 0, 0.0).losses[name].backward()
    parameters = model.encoders["rgb"].parameters()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([gradient.flatten() for gradient in found]).double().numpy()


def test_cosines_equal_those_of_separately_trained_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_space()
    alone_TP = np.stack([gradient_alone(space, name) for name in REACHING])
    model = make_model(space)
    result = model.losses(make_clips(), 0, 0.0)
    unit_TP = alone_TP / np.linalg.norm(alone_TP, axis=1, keepdims=True)
    expected = unit_TP @ unit_TP.T
    assert np.abs(expected[~np.eye(4, dtype=bool)]).max() > 0.02
    whole = alone_TP.shape[1]
    assert whole < conflict.MAX_SKETCH_SIZE
    small = whole // 7
    for size, tolerance in ((conflict.MAX_SKETCH_SIZE, 1e-3), (small, 4 / math.sqrt(small))):
        monkeypatch.setattr(conflict, "MAX_SKETCH_SIZE", size)
        found = measure_conflict(model, result)
        assert found is not None
        assert found.terms == REACHING  # flow alone and gray alone do not train the RGB encoder
        np.testing.assert_allclose(found.cosine, expected, atol=tolerance)


@pytest.mark.parametrize("heavy", [1, 40])
def test_sketches_preserve_dot_products_of_sparse_gradients(heavy: int) -> None:
    generator = torch.Generator().manual_seed(heavy)
    few = torch.rand(2, 30_000, generator=generator) < heavy / 30_000
    x_2P = torch.rand(2, 30_000, generator=generator) ** 4 * (1 + 100 * few)
    sums = 1000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conflict, "MAX_SKETCH_SIZE", sums)
        signs = conflict._signs(30_000)
        kept = torch.stack([conflict._sketch((x[:7].clone(), x[7:].clone()), signs) for x in x_2P])
    assert kept.shape == (2, sums)
    plain, found = (F.cosine_similarity(x[0], x[1], dim=0).item() for x in (x_2P, kept))
    assert found == pytest.approx(plain, abs=4 / math.sqrt(sums))
    assert set(signs.tolist()) == {-1, 1}


def test_cosines_depend_on_a_losss_sign_not_its_scale() -> None:
    model = make_model(make_space(THREE))
    result = model.losses(make_clips(), 0, 0.0)
    names = list(result.losses)
    base = result.losses["simclr.rgb"]
    signed = dict(zip(names, (base, -2 * base, 300 * base), strict=True))
    found = measure_conflict(model, replace(result, losses=signed))
    assert found == Conflict(names, [[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])


def test_skipped_terms_have_no_conflict() -> None:
    model = make_model(make_space())
    result = model.losses(make_clips(silent=6), 0, 0.0)
    deaf = dict(result.losses)
    deaf["order_binary.rgb"] = torch.zeros(())  # no graph at all
    elsewhere = next(model.encoders["flow"].parameters()).sum()
    deaf["distill.flow->rgb.stage3"] = elsewhere  # a graph, but none to the encoder
    assert "multimodal_contrast.rgb+audio" in result.skipped
    found = measure_conflict(model, result)
    assert found is not None
    assert found.terms == [name for name in REACHING if name not in result.skipped]
    assert measure_conflict(model, replace(result, losses=deaf)) is None


def test_a_single_term_computes_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict, "gradients_of", None)  # a call would fail
    model = make_model(make_space(), {"simclr.rgb", "arrow_of_time.flow"})
    assert measure_conflict(model, model.losses(make_clips(), 0, 0.0)) is None


def run(folder: Path, accumulate: int, resume: bool = False) -> Iterator[StepReport]:
    """Train four steps with conflict measured in each; save the final weights and random state."""
    space = make_space(
        THREE,
        backbone={"name": "c3d", "depth": 18, "width": 4},
        training={"accumulate": accumulate, "batch_size": 6},
    )
    names = [f"{task}.rgb" for task in THREE]
    objective = Objective(dict.fromkeys(names, 1 / 3), dict.fromkeys(names, 2.0))
    loader: Any = MemoryLoader()
    model = make_model(space)
    torch.manual_seed(0)
    schedule = Schedule(4, log_every=1, save_every=2)
    yield from train(model, loader, objective, schedule, folder, resume=resume)
    torch.save([model.state_dict(), torch.get_rng_state()], folder / "numbers.pt")


def history_without_times(folder: Path) -> list[dict[str, Any]]:
    """The history without wall-clock values."""
    clock = {"seconds", "clips_per_second", "data_wait"}
    lines = read_history(folder / "history.jsonl")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_measuring_conflict_does_not_change_the_training(
    accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def counted(*args: Any) -> Conflict | None:
        measured.append(1)
        return measure_conflict(*args)

    monkeypatch.setattr(loop, "measure_conflict", counted)
    list(run(tmp_path / "with", accumulate))
    assert len(measured) == 4  # once a step, however many batches it takes
    monkeypatch.setattr(loop, "measure_conflict", lambda model, result: None)
    list(run(tmp_path / "without", accumulate))
    with_it, without = (
        history_without_times(tmp_path / "with"),
        history_without_times(tmp_path / "without"),
    )
    assert all(line["conflict"]["terms"] == ["simclr.rgb", "order_binary.rgb", "byol.rgb"]
               for line in with_it)  # fmt: skip
    assert [line | {"conflict": None} for line in with_it] == without
    (one, one_rng), (other, other_rng) = (
        torch.load(tmp_path / name / "numbers.pt", weights_only=True)
        for name in ("with", "without")
    )
    assert torch.equal(one_rng, other_rng)
    assert any("running_mean" in name for name in one)
    assert all(torch.equal(other[name], value) for name, value in one.items())
    states = [(tmp_path / n / "checkpoint/optimiser.safetensors") for n in ("with", "without")]
    assert states[0].read_bytes() == states[1].read_bytes()


def test_a_resumed_training_reports_the_same_conflicts(tmp_path: Path) -> None:
    list(run(tmp_path / "whole", 1))
    stopped = run(tmp_path / "parts", 1)
    assert [next(stopped).step for _ in range(3)] == [1, 2, 3]  # one past the checkpoint
    stopped.close()  # type: ignore[attr-defined]
    list(run(tmp_path / "parts", 1, resume=True))
    assert history_without_times(tmp_path / "parts") == history_without_times(tmp_path / "whole")


@given(st.integers(1, 20_000), st.integers(1, 100))
def test_conflict_is_measured_at_most_ten_times(steps: int, log_every: int) -> None:
    every = Schedule(steps, log_every).conflict_every
    assert every % log_every == 0
    assert steps // every <= 10
    assert steps // every >= min(5, steps // log_every)
