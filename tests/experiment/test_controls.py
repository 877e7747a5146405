"""The controls of a run are complete and reproducible."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from evossl.evaluation.audit import DIRECTIONS
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.controls import (
    FEATURE_SETS,
    NUM_CONTROLS,
    Control,
    control_features,
    run_random_init,
    score_controls,
)
from evossl.experiment.held_out import held_out_features
from tests.helpers.tiny_runs import make_run, tiny_space

NAMES = [*(f"random init {i}" for i in range(5)), "noise", "zipf blobs", "colour grid"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path) -> RunSpec:
    return make_run(tmp_path_factory.mktemp("controls") / "run", tiny_videos, tiny_cache)


@pytest.fixture(scope="module")
def controls(run: RunSpec) -> list[Control]:
    return score_controls(RunContext.open(run))


def with_fitness(run: RunSpec, **fitness: Any) -> RunContext:
    space = tiny_space(fitness=fitness).model_dump_json()
    return RunContext.open(RunSpec(**asdict(run) | {"space": space}))


def test_every_control_has_a_fitness_or_a_reason(controls: list[Control]) -> None:
    assert [control.name for control in controls] == NAMES
    assert len(NAMES) == NUM_CONTROLS
    for control in controls:
        assert (control.fitness is None) == (control.reason is not None)
        if control.fitness is not None:
            assert DIRECTIONS.keys() - {"fitness"} <= control.indicators.keys()


def test_random_inits_differ(controls: list[Control]) -> None:
    """RankMe has no ties; with nine clips, many random inits have the same clusters."""
    scored = [c.indicators["rankme"] for c in controls if c.kind == "random_init"]
    assert len(set(scored)) == 5


def test_controls_are_a_function_of_the_run(run: RunSpec, controls: list[Control]) -> None:
    said: list[tuple[int, int]] = []
    again = score_controls(RunContext.open(run), lambda done, total: said.append((done, total)))
    assert [c.fitness for c in again] == [c.fitness for c in controls]
    assert said == [(done, NUM_CONTROLS) for done in range(1, NUM_CONTROLS + 1)]


def test_the_labels_fitness_scores_synthetic_controls_too(run: RunSpec) -> None:
    """Noise has no labels of its own, so it is scored with those of the clips."""
    controls = score_controls(with_fitness(run, name="labels"))
    assert [control.name for control in controls] == NAMES
    noise = next(control for control in controls if control.name == "noise")
    assert noise.fitness is not None


def test_a_failing_user_fitness_is_the_controls_reason(run: RunSpec, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def fitness(features):\n    raise ValueError('no')\n", encoding="utf-8")
    controls = score_controls(with_fitness(run, name=str(file)))
    assert [control.name for control in controls] == NAMES
    assert all(control.fitness is None for control in controls)
    assert sum("line 2: ValueError: no" in str(control.reason) for control in controls) >= 5


def test_controls_scored_together_equal_those_scored_alone(run: RunSpec) -> None:
    context = RunContext.open(run)
    held_out = context.data.selection
    together = list(control_features(context, held_out, 2))
    for index in range(2):
        alone = held_out_features(run_random_init(context, index), context, held_out)
        for name in FEATURE_SETS:
            found = getattr(together[index].features, name)
            assert torch.equal(found, getattr(alone, name))
    without = list(control_features(context, held_out, 2, with_shuffled=False))
    assert without[1].features.shuffled_ND is None
    assert torch.equal(without[1].features.second_ND, together[1].features.second_ND)
