"""The best checkpoint of a training: which step is kept, and what a resume continues from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evossl.config import Backbone
from evossl.experiment.context import RunContext
from evossl.experiment.selected_checkpoint import (
    CHECKPOINT,
    SelectedCheckpoint,
    best_step,
    read_scores,
    scored_steps,
)
from evossl.experiment.trial import load_encoder_from, run_trial
from evossl.experiment.winner import long_training_spec
from evossl.fitness.score import Score
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.checkpoint import load_encoder_state
from evossl.training.history import StepReport
from evossl.types import Stream
from tests.helpers.tiny_runs import WEIGHTS, make_run

BACKBONE = Backbone(name="c3d", width=4)


def encoder(seed: int) -> Encoder:
    return build_encoder(Stream.RGB, BACKBONE, seed)


def scored(fitness: float | None) -> Score:
    return Score(fitness, None, {"rankme": 1.0}, None, None, None)


def kept(folder: Path) -> dict[str, torch.Tensor]:
    found = encoder(99)
    load_encoder_state(folder / CHECKPOINT, found, Stream.RGB)
    return dict(found.state_dict())


def test_the_encoder_of_the_lowest_fitness_is_kept(tmp_path: Path) -> None:
    selected = SelectedCheckpoint(tmp_path, resume=False)
    offers = [(10, None), (20, 2.0), (30, 1.5), (40, 1.5), (50, 3.0)]
    best = [selected.offer(step, scored(f), encoder(step)) for step, f in offers]
    assert best == [False, True, True, False, False]
    assert [(s.step, s.fitness) for s in read_scores(tmp_path)] == offers
    assert best_step(selected.scores).step == 30
    for name, weight in encoder(30).state_dict().items():
        assert torch.equal(kept(tmp_path)[name], weight)


def test_a_resume_remembers_earlier_scores(tmp_path: Path) -> None:
    SelectedCheckpoint(tmp_path, resume=False).offer(10, scored(1.0), encoder(10))
    again = SelectedCheckpoint(tmp_path, resume=True)
    assert not again.offer(20, scored(1.2), encoder(20))
    assert again.offer(10, scored(1.0), encoder(10))  # the same step, trained again after a kill
    new = SelectedCheckpoint(tmp_path, resume=False)
    assert new.scores == []
    assert not (tmp_path / CHECKPOINT).exists()


def test_an_unreadable_file_counts_as_no_scores(tmp_path: Path) -> None:
    (tmp_path / "selection.json").write_text("[{")
    assert read_scores(tmp_path) == []


@pytest.mark.parametrize("steps", [1, 2, 4, 9, 50, 137, 300, 2000])
def test_scored_steps_are_reported_steps_before_the_last(steps: int) -> None:
    log_every = max(1, min(10, steps // 50))
    found = scored_steps(steps, log_every)
    assert all(0 < step < steps and step % log_every == 0 for step in found)
    assert len(found) == min(4, steps - 1)


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path
) -> RunContext:
    folder = tmp_path_factory.mktemp("selected") / "run"
    return RunContext.open(make_run(folder, tiny_videos, tiny_cache))


def test_an_interrupted_training_keeps_the_same_encoder(
    context: RunContext, tmp_path: Path
) -> None:
    whole = long_training_spec(context.run, 0, WEIGHTS, 10, tmp_path / "whole")
    expected = run_trial(whole, context)
    cut = replace(whole, folder=str(tmp_path / "cut"))

    def stop(report: StepReport) -> None:
        if report.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(cut, context, stop)
    found = run_trial(cut, context)
    assert found.fitness == expected.fitness
    cut_scores, whole_scores = (
        [(s.step, s.fitness) for s in read_scores(tmp_path / name)] for name in ("cut", "whole")
    )
    assert cut_scores == whole_scores
    first, second = (
        load_encoder_from(tmp_path / name / CHECKPOINT, context).state_dict()
        for name in ("cut", "whole")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
