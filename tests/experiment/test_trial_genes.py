"""Genes in trials: they change the training, and never what the fitness sees."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from evossl.cli.checks import check_space
from evossl.errors import UserError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.held_out import held_out_features
from evossl.experiment.run_folder import read_run
from evossl.experiment.terms import search_genotype
from evossl.experiment.trial import run_trial
from evossl.experiment.trial_spec import TrialSpec, trial_folder
from evossl.experiment.winner import Winner, choose_winner, export_winner, rerun_spec, winner_spec
from evossl.models.encoder import build_encoder
from evossl.search.table import TrialRow
from evossl.training.history import read_history
from evossl.types import Stream
from tests.helpers.tiny_runs import WEIGHTS, make_run, tiny_space
from tests.helpers.trial_rows import trial_row
from tests.helpers.verdicts import verdict_of

LR = {"low": 0.0005, "high": 0.02, "log": True}
KEYS = {
    "optimiser": {"lr": LR, "name": {"choices": ["adamw", "sgd"]}},
    "augmentation": {"colour_strength": [0, 1], "min_crop_area": [0.1, 1]},
    "training": {"accumulate": [1, 2]},
    "tasks": {
        "simclr": {"places": ["rgb"], "options": {"temperature": [0.05, 0.5]}},
        "arrow_of_time": {"places": ["rgb"]},
    },
}
GENES = {
    "optimiser.lr": 0.004,
    "optimiser.name": "sgd",
    "augmentation.colour_strength": 0.1,
    "augmentation.min_crop_area": 0.9,
    "training.accumulate": 2,
    "tasks.simclr.options.temperature": 0.3,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path) -> RunSpec:
    return make_run(tmp_path_factory.mktemp("genes") / "run", tiny_videos, tiny_cache, **KEYS)


@pytest.fixture(scope="module")
def context(run: RunSpec) -> RunContext:
    return RunContext.open(run)


def first_losses(spec: TrialSpec, context: RunContext) -> tuple[dict[str, float], float]:
    """Return the losses of the first step, and the objective of the last."""
    assert run_trial(spec, context).fitness is not None
    lines = list(read_history(trial_folder(spec) / "history.jsonl"))
    return lines[0]["loss"], lines[-1]["total"]


def test_the_run_records_its_ranges_as_written(run: RunSpec) -> None:
    space = read_run(Path(run.folder)).space
    assert space["optimiser"]["lr"] == LR
    assert space["augmentation"]["colour_strength"] == {"low": 0.0, "high": 1.0}
    assert space["tasks"]["simclr"]["options"] == {"temperature": [0.05, 0.5]}
    assert read_run(Path(run.folder)).parsed_space == tiny_space(**KEYS)


def test_the_search_evolves_weights_and_genes(context: RunContext) -> None:
    genotype = search_genotype(context.resolved)
    assert set(genotype.bounds) == set(WEIGHTS)
    assert set(genotype.genes) == set(GENES)


def test_each_gene_changes_the_training(context: RunContext) -> None:
    plain = TrialSpec(0, WEIGHTS, context.run, 3, log_every=1)
    losses, last = first_losses(plain, context)
    defaults = {name: gene.default for name, gene in context.resolved.genes.items()}
    same = first_losses(replace(plain, number=1, genes=defaults), context)
    assert same == (losses, last)
    for number, (name, value) in enumerate(GENES.items(), start=2):
        changed = first_losses(replace(plain, number=number, genes={name: value}), context)
        assert changed[1] != last, name
        # Only views and the loss itself differ at the shared initial weights.
        expected = name.startswith(("augmentation", "tasks", "training"))
        assert (changed[0] != losses) is expected, name


def test_features_for_the_fitness_ignore_the_genes(run: RunSpec, context: RunContext) -> None:
    """The same encoder has the same features in a run with other augmentation and options."""
    fixed = {"augmentation": {"colour_strength": 0.1, "min_crop_area": 0.9, "noise_strength": 3}}
    other = RunContext.open(replace(run, space=tiny_space(**fixed).model_dump_json()))
    encoder = build_encoder(Stream.RGB, context.space.backbone, 0)
    here, there = (
        asdict(held_out_features(encoder, one, one.data.selection)) for one in (context, other)
    )
    for name, tensor in here.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, there[name]), name
    assert other.resolved.space.augmentation.noise_strength == 3


def test_a_trial_with_genes_is_plain_data(run: RunSpec) -> None:
    spec = TrialSpec(7, WEIGHTS, run, 2, genes=GENES)
    plain = json.loads(json.dumps(asdict(spec)))
    plain |= {"run": RunSpec(**plain["run"]), "rungs": tuple(plain["rungs"])}
    assert TrialSpec(**plain) == spec


def test_a_trial_with_a_wrong_gene_is_refused(context: RunContext) -> None:
    for genes in ({"optimiser.lr": 0.5}, {"optimiser.wd": 0.1}):
        with pytest.raises(UserError, match=r"optimiser\."):
            run_trial(TrialSpec(0, WEIGHTS, context.run, 1, genes=genes), context)


def test_a_winner_keeps_and_records_its_genes(context: RunContext) -> None:
    row = replace(trial_row(4.0), genes=GENES)
    spec = winner_spec(context.run, row, 2, 0)
    template = TrialSpec(0, {}, context.run, 2)
    assert dict(spec.genes) == dict(rerun_spec(template, row, 1).genes) == GENES
    result = run_trial(spec, context)
    assert result.fitness is not None
    assert math.isfinite(result.fitness)
    winner = choose_winner(spec, result, row, template)
    folder = export_winner(winner, verdict_of(4.0), context)
    assert json.loads((folder / "config.json").read_text())["provenance"]["genes"] == GENES
    assert json.loads((folder.parent / "winner.json").read_text())["genes"] == GENES
    failed = choose_winner(spec, replace(result, fitness=None), _trained(row, context), template)
    assert failed.spec.genes == GENES
    assert isinstance(failed, Winner)


def _trained(row: TrialRow, context: RunContext) -> TrialRow:
    """Run the trial of a row, so that it has a checkpoint."""
    spec = TrialSpec(row.trial, row.weights, context.run, 2, genes=row.genes)
    return replace(row, fitness=run_trial(spec, context).fitness)


def test_a_gene_whose_extreme_fails_is_refused_before_a_run() -> None:
    """With 60 blocks, DPC's view no longer fits the stretch."""
    tasks = {"dpc": {"places": ["rgb"], "options": {"blocks": [2, 60]}}}
    with pytest.raises(UserError, match=r"^tiny: tasks\.dpc\.options\.blocks: at 60: ") as refused:
        check_space(tiny_space(tasks=tasks, clip={"frames": 4, "stretch": 24}), None, "tiny")
    assert "clip.stretch" in str(refused.value)
    check_space(tiny_space(**KEYS), None, "tiny")


def test_prune_below_may_not_silence_every_task() -> None:
    tasks = {"simclr": {"places": ["rgb"], "weight": [0, 0.5]}}
    space = tiny_space(tasks=tasks, training={"batch_size": 4, "prune_below": [0.0, 0.9]})
    with pytest.raises(UserError, match=r"training\.prune_below: at 0\.9: tasks\.simclr\.weight"):
        check_space(space, None, "tiny")
