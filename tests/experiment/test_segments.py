"""Trials that continue another trial's checkpoint, and the winner that continues the best one."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evossl.errors import RunError
from evossl.experiment.context import RunContext
from evossl.experiment.trial import run_trial
from evossl.experiment.trial_spec import TrialSpec, trial_folder
from evossl.experiment.winner import continued, rerun_spec, winner_spec
from evossl.search.table import TrialRow
from evossl.training.checkpoint import read_state
from evossl.training.history import read_history
from tests.helpers.tiny_runs import WEIGHTS, make_run

OTHER = WEIGHTS | {"arrow_of_time.rgb": 0.0}


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path
) -> RunContext:
    """A run in which trial 0 has trained two steps as the first segment of a member."""
    run = make_run(tmp_path_factory.mktemp("segments") / "run", tiny_videos, tiny_cache)
    context = RunContext.open(run)
    run_trial(first(context), context)
    return context


def first(context: RunContext) -> TrialSpec:
    return TrialSpec(0, WEIGHTS, context.run, 2, log_every=1, part="first")


def segment(context: RunContext, number: int, weights: Any = WEIGHTS) -> TrialSpec:
    return replace(first(context), number=number, weights=weights).inheriting(0)


def weights_of(spec: TrialSpec) -> dict[str, torch.Tensor]:
    return load_file(trial_folder(spec) / "checkpoint" / "model.safetensors")


def test_a_segment_counts_its_own_steps_in_its_history(context: RunContext) -> None:
    spec = segment(context, 1)
    result = run_trial(spec, context)
    assert result.fitness is not None
    assert [line["step"] for line in read_history(trial_folder(spec) / "history.jsonl")] == [1, 2]
    assert read_state(trial_folder(spec) / "checkpoint") == {"step": 4}


def test_a_segment_is_a_function_of_its_parent_and_spec(context: RunContext) -> None:
    one, other = segment(context, 2, OTHER), segment(context, 3, OTHER)
    scores = []
    for spec in (one, other, other):  # the second time over its own files, as after a kill
        result = asdict(run_trial(spec, context))
        scores.append((result["fitness"], result["reason"]))
        assert sorted(weights_of(spec)) == sorted(weights_of(one))
        assert all(torch.equal(x, weights_of(one)[name]) for name, x in weights_of(spec).items())
    assert scores[0] == scores[1] == scores[2]
    assert not any("arrow" in name for name in weights_of(one))


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_missing_parent_is_a_fault_and_no_result(context: RunContext, damage: str) -> None:
    """Otherwise a lost folder would fail every later trial of the search."""
    spec = replace(segment(context, 5), parent=4)
    checkpoint = Path(context.run.folder) / "trials" / "4" / "checkpoint"
    message = "trial 5 continues trial 4, whose checkpoint is needed"
    if damage == "damaged":
        shutil.copytree(trial_folder(first(context)) / "checkpoint", checkpoint)
        (checkpoint / "model.safetensors").write_bytes(b"junk")
        message = "cannot be continued"
    with pytest.raises(RunError, match=message):
        run_trial(spec, context)


def test_the_winner_continues_the_best_trial(context: RunContext) -> None:
    row = TrialRow(0, "", "complete", 1.0, weights=WEIGHTS)
    spec = continued(winner_spec(context.run, row, 2, 0))
    assert (spec.parent, spec.part) == (0, "last")
    run_trial(spec, context)
    assert read_state(trial_folder(spec) / "checkpoint") == {"step": 4}
    rates = [line["lr"] for line in read_history(trial_folder(spec) / "history.jsonl")]
    assert rates[1] < rates[0]


def test_a_rerun_starts_from_the_same_parent(context: RunContext) -> None:
    row = TrialRow(6, "", "complete", 1.0, weights=WEIGHTS, parent=0)
    spec = rerun_spec(first(context), row, 1)
    assert (spec.parent, spec.part, spec.steps) == (0, "middle", 2)
    assert spec.seed == context.run.seed + 1
    alone = rerun_spec(first(context), replace(row, parent=None), 1)
    assert (alone.parent, alone.part) == (None, "first")
