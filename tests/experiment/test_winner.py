"""The winner: its longer training, the choice of its encoder, and what is exported."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evossl import load_encoder
from evossl.errors import RunError
from evossl.experiment.context import RunContext
from evossl.experiment.selected_checkpoint import SCORES_FILE
from evossl.experiment.trial import load_trained, run_trial
from evossl.experiment.trial_spec import TrialResult, TrialSpec, checkpoint_folder, trial_folder
from evossl.experiment.winner import (
    Winner,
    choose_winner,
    export_winner,
    rerun_spec,
    winner_spec,
)
from evossl.io.files import write_json
from tests.helpers.tiny_runs import WEIGHTS, make_run
from tests.helpers.trial_rows import trial_row
from tests.helpers.verdicts import verdict_of


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path
) -> RunContext:
    folder = tmp_path_factory.mktemp("winners") / "run"
    return RunContext.open(make_run(folder, tiny_videos, tiny_cache))


@pytest.fixture(scope="module")
def template(context: RunContext) -> TrialSpec:
    return TrialSpec(0, {}, context.run, 2)


@pytest.fixture(scope="module")
def trained(context: RunContext, template: TrialSpec) -> Winner:
    row = replace(trial_row(4.0, 50), weights=WEIGHTS)  # the trial itself has no checkpoint
    spec = winner_spec(context.run, row, 2, 0)
    return choose_winner(spec, run_trial(spec, context), row, template)


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
    assert (config["provenance"]["trial"], config["provenance"]["steps"]) == (50, trained.steps)
    summary = json.loads((folder.parent / "winner.json").read_text())
    assert summary["verdict"]["line"] == verdict.line
    assert summary["fitness"] == trained.fitness
    if verdict.warning:
        with pytest.warns(UserWarning, match="NOT BETTER than the controls"):
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
LONGER = TrialResult(2, 3.0, None, 1.0, {})


@pytest.fixture(scope="module")
def own(context: RunContext, template: TrialSpec) -> TrialResult:
    """The result of trial 2, which has a checkpoint."""
    return run_trial(replace(template, number=2, weights=WEIGHTS), context)


def test_a_failed_longer_training_exports_the_trial_itself(
    context: RunContext, template: TrialSpec, own: TrialResult
) -> None:
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


@pytest.mark.parametrize("result", [LONGER, replace(LONGER, fitness=None, at_chance=True)])
def test_a_longer_training_that_is_worse_is_not_exported(
    result: TrialResult, context: RunContext, template: TrialSpec, own: TrialResult
) -> None:
    """The demo once exported 1.968 nats where its best trial had 1.684."""
    row = replace(trial_row(4.0), fitness=2.5)
    spec = winner_spec(context.run, row, 9, 3)
    winner = choose_winner(spec, result, row, template)
    assert (winner.spec.number, winner.spec.folder, winner.steps) == (2, None, 2)
    assert winner.fitness == 2.5
    assert "longer training of trial 2 (9 steps) made it worse" in winner.note
    assert "the encoder of the trial itself, after 2 steps" in winner.note
    config = json.loads(
        (export_winner(winner, verdict_of(4.0), context) / "config.json").read_text()
    )
    assert config["warning"] is None  # the encoder is good: the note is in winner.json
    assert json.loads((winner.folder / "winner.json").read_text())["note"] == winner.note


def test_a_better_longer_training_is_exported(
    context: RunContext, template: TrialSpec, own: TrialResult
) -> None:
    row = replace(trial_row(4.0), fitness=3.5)
    spec = winner_spec(context.run, row, 9, 4)
    winner = choose_winner(spec, LONGER, row, template)
    assert (winner.spec, winner.steps, winner.fitness, winner.note) == (spec, 9, 3.0, None)


def test_a_training_that_becomes_worse_names_its_best_step(
    context: RunContext, template: TrialSpec
) -> None:
    spec = winner_spec(context.run, trial_row(4.0, 77), 90, 5)
    scores = [
        {"step": 40, "fitness": 1.5},
        {"step": 60, "fitness": None},
        {"step": 90, "fitness": 2},
    ]
    write_json(trial_folder(spec) / SCORES_FILE, scores)
    winner = choose_winner(spec, replace(LONGER, fitness=1.5), trial_row(4.0, 77), template)
    assert winner.steps == 40
    assert "became worse after step 40: 1.500 nats there, 2.000 nats at step 90" in winner.note


def test_a_failed_training_without_a_checkpoint_is_an_error(
    context: RunContext, template: TrialSpec
) -> None:
    spec = winner_spec(context.run, trial_row(4.0, 77), 9, 2)
    with pytest.raises(RunError, match=r"longer training of trial 77 \(9 steps\) failed: the loss"):
        choose_winner(spec, FAILED, trial_row(4.0, 77), template)
    assert not trial_folder(spec).exists()


def test_winners_and_reruns_have_their_own_folders_and_seeds(context: RunContext) -> None:
    names = [
        Path(str(winner_spec(context.run, trial_row(4.0), 9, rank).folder)).name
        for rank in range(3)
    ]
    assert names == ["winner", "winner-2", "winner-3"]
    template = winner_spec(context.run, trial_row(4.0), 2, 0)
    reruns = [rerun_spec(template, trial_row(4.0, n), repeat) for n in (1, 2) for repeat in (1, 2)]
    assert [spec.seed for spec in reruns] == 2 * [context.run.seed + 1, context.run.seed + 2]
    assert len({spec.folder for spec in reruns}) == 4


def test_a_winner_is_scored_on_its_way(context: RunContext) -> None:
    spec = winner_spec(context.run, trial_row(4.0), 300, 0)
    assert spec.rungs == (60, 120, 180, 240)
    assert spec.keep_best
    assert all(step % spec.log_every == 0 for step in spec.rungs)  # only reported steps are scored
    assert checkpoint_folder(replace(spec, folder="nowhere")).name == "checkpoint"
