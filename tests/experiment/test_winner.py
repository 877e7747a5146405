"""The winner: its longer training, what replaces a failed one, and the exported encoder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evossl import load_encoder
from evossl.errors import RunError
from evossl.experiment.context import RunContext
from evossl.experiment.trial import TrialResult, TrialSpec, load_trained, run_trial, trial_folder
from evossl.experiment.verdict import Verdict, decide_verdict
from evossl.experiment.winner import (
    Winner,
    choose_winner,
    export_winner,
    rerun_spec,
    winner_spec,
)
from tests.helpers.tiny_runs import WEIGHTS, make_run
from tests.helpers.trial_rows import control_rows, trial_row


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path
) -> RunContext:
    folder = tmp_path_factory.mktemp("winners") / "run"
    return RunContext.open(make_run(folder, tiny_videos, tiny_cache))


@pytest.fixture(scope="module")
def trained(context: RunContext) -> Winner:
    spec = winner_spec(context.run, trial_row(4.0), 2, 0)
    return Winner(spec, run_trial(spec, context), trial_folder(spec))


def verdict_of(fitness: float) -> Verdict:
    best = trial_row(fitness)
    return decide_verdict([*control_rows(), best], best)


@pytest.mark.parametrize("fitness", [4.0, 7.0])
def test_an_exported_winner_has_warning_and_provenance(
    context: RunContext, trained: Winner, fitness: float
) -> None:
    verdict = verdict_of(fitness)
    folder = export_winner(trained, verdict, context)
    assert folder == Path(context.run.folder) / "winner" / "encoder"
    config = json.loads((folder / "config.json").read_text())
    assert config["warning"] == verdict.warning
    assert config["provenance"]["weights"] == dict(WEIGHTS)
    assert (config["provenance"]["trial"], config["provenance"]["steps"]) == (2, 2)
    summary = json.loads((folder.parent / "winner.json").read_text())
    assert summary["verdict"]["line"] == verdict.line
    assert summary["fitness"] == trained.result.fitness
    if verdict.warning:
        with pytest.warns(UserWarning, match="NO BETTER THAN ITS CONTROLS"):
            load_encoder(folder)
    else:
        load_encoder(folder)


def test_a_winner_is_exported_again_if_the_verdict_changes(
    context: RunContext, trained: Winner
) -> None:
    weights = export_winner(trained, verdict_of(4.0), context) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    export_winner(trained, verdict_of(4.0), context)
    assert weights.stat().st_mtime_ns == before
    export_winner(trained, verdict_of(7.0), context)
    assert json.loads((weights.parent / "config.json").read_text())["warning"]


FAILED = TrialResult(2, None, "the loss of simclr.rgb is not finite at step 1", 1.0, {})


def test_a_failed_longer_training_exports_the_trial_itself(
    context: RunContext, trained: Winner
) -> None:
    template = TrialSpec(0, {}, context.run, 2)
    own = run_trial(replace(template, number=2, weights=WEIGHTS), context)
    row, spec = (
        replace(trial_row(4.0), fitness=own.fitness),
        winner_spec(context.run, trial_row(4.0), 9, 1),
    )
    winner = choose_winner(spec, FAILED, row, template)
    folder = export_winner(winner, verdict_of(4.0), context)
    config = json.loads((folder / "config.json").read_text())
    assert folder == Path(context.run.folder) / "winner-2" / "encoder"
    assert (config["provenance"]["trial"], config["provenance"]["steps"]) == (2, 2)
    assert "(9 steps) failed: the loss of simclr.rgb is not finite" in config["warning"]
    assert json.loads((folder.parent / "winner.json").read_text())["fitness"] == own.fitness
    weights = load_file(folder / "model.safetensors")
    same = load_trained(replace(template, number=2), context).state_dict()
    assert all(torch.equal(same[name.removeprefix("encoder.")], w) for name, w in weights.items())


def test_a_failed_training_without_a_checkpoint_is_an_error(
    context: RunContext,
) -> None:
    spec = winner_spec(context.run, trial_row(4.0, 77), 9, 2)
    with pytest.raises(RunError, match=r"longer training of trial 77 \(9 steps\) failed: the loss"):
        choose_winner(spec, FAILED, trial_row(4.0, 77), TrialSpec(0, {}, context.run, 2))
    assert not trial_folder(spec).exists()


def test_winners_and_reruns_have_their_own_folders_and_seeds(context: RunContext) -> None:
    names = [
        Path(str(winner_spec(context.run, trial_row(4.0), 9, rank).folder)).name
        for rank in range(3)
    ]
    assert names == ["winner", "winner-2", "winner-3"]
    template = winner_spec(context.run, trial_row(4.0), 2, 0)
    reruns = [rerun_spec(template, trial_row(4.0), repeat) for repeat in (1, 2)]
    assert [spec.seed for spec in reruns] == [context.run.seed + 1, context.run.seed + 2]
    assert len({spec.folder for spec in reruns}) == 2
