"""The verdict on the best trial, in closed form, and its export."""

import json
import math
import statistics
from collections.abc import Sequence
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
from evossl.search.table import TrialRow
from tests.helpers.tiny_runs import WEIGHTS, make_run

INITS = [6.0, 6.2, 6.4, 6.6, 6.8]  # mean 6.4; squared deviations 0.4 in all over 4: sd sqrt(0.1)
SD = math.sqrt(0.1)


def controls(inits: Sequence[float | None] = INITS, **others: float | None) -> list[TrialRow]:
    """Random inits, then other controls."""
    named = {f"random init {i}": value for i, value in enumerate(inits)} | others
    return [
        TrialRow(
            trial=-1 - i,
            name=name,
            status="control",
            kind="noise" if name in others else "random_init",
            fitness=value,
            reason=None if value else "collapsed",
        )
        for i, (name, value) in enumerate(named.items())
    ]


def trial(fitness: float, number: int = 2) -> TrialRow:
    return TrialRow(number, "", "complete", fitness, weights=WEIGHTS)


EQUAL = TrialRow(0, "equal weights", "complete", 5.9, weights=WEIGHTS)


def test_a_winner_is_held_against_the_lowest_control_and_the_random_inits() -> None:
    best = trial(4.0)
    verdict = decide_verdict([*controls(noise=9.0, grid=4.5), EQUAL, best], best)
    assert verdict.best_control == ("grid", 4.5)
    assert verdict.sds_below_random == pytest.approx((6.4 - 4.0) / SD)
    assert verdict.equal_weights == 5.9
    assert verdict.rerun_sd is None
    assert verdict.beats_controls
    assert verdict.warning is None
    assert "beats the controls" in verdict.line
    assert "equal weights: 5.900" in verdict.line


@pytest.mark.parametrize(
    ("fitness", "grid", "beats"),
    [
        (6.4 - 3.01 * SD, 9.0, True),
        (6.4 - 2.99 * SD, 9.0, False),  # lower than every control, within 3 sd of random inits
        (4.0, 4.0, False),  # no better than a control is not better
        (4.0, 3.9, False),
        (7.0, 9.0, False),
    ],
)
def test_both_bars_must_be_cleared(fitness: float, grid: float, beats: bool) -> None:
    best = trial(fitness)
    verdict = decide_verdict([*controls(noise=9.0, grid=grid), best], best)
    assert verdict.beats_controls == beats
    assert (verdict.warning is None) == beats
    assert ("does NOT beat" in verdict.line) != beats


def test_the_warning_cannot_be_overlooked_and_says_what_to_do() -> None:
    best = trial(7.0)
    warning = decide_verdict([*controls(), best], best).warning
    assert warning is not None
    assert "NO BETTER THAN ITS CONTROLS" in warning
    assert "Train longer" in warning
    assert "random init 0, has 6.000" in warning


def test_controls_that_failed_a_guard_are_no_bar_but_the_others_still_are() -> None:
    best = trial(5.0)
    verdict = decide_verdict(
        [*controls([6.0, None, None, None, 6.8], blobs=None, noise=9.0), best], best
    )
    assert verdict.sds_below_random is None  # two are too few for a deviation
    assert verdict.best_control == ("random init 0", 6.0)
    assert verdict.beats_controls
    best = trial(6.0)
    assert not decide_verdict([*controls([6.0, None, None, None, 6.8]), best], best).beats_controls


def test_without_a_single_scored_control_nothing_is_claimed() -> None:
    best = trial(1.0)
    for rows in (controls([None] * 5, noise=None), []):
        verdict = decide_verdict([*rows, best], best)
        assert not verdict.beats_controls
        assert "none of them could be scored" in verdict.line


def test_random_inits_that_are_all_equal_give_no_deviation_and_no_infinity() -> None:
    best = trial(5.0)
    verdict = decide_verdict([*controls([6.0] * 5), best], best)
    assert verdict.sds_below_random is None
    assert verdict.beats_controls
    assert json.loads(json.dumps(verdict.line, allow_nan=False))


def test_reruns_say_how_many_deviations_the_gap_is() -> None:
    best = trial(4.0)
    verdict = decide_verdict([*controls(), best], best, reruns=[4.2, 4.4])
    assert verdict.rerun_sd == pytest.approx(statistics.stdev([4.0, 4.2, 4.4]))
    assert verdict.rerun_sd == pytest.approx(0.2)
    assert "+10.0 sd of a re-run" in verdict.line  # (6.0 - 4.0) / 0.2


def test_trials_are_not_controls_and_failed_equal_weights_are_not_zero() -> None:
    best = trial(4.0)
    failed = TrialRow(0, "equal weights", "failed", None, "NaN")
    verdict = decide_verdict([*controls(), failed, trial(1.0, number=3), best], best)
    assert verdict.best_control == ("random init 0", 6.0)
    assert verdict.equal_weights is None


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path
) -> RunContext:
    folder = tmp_path_factory.mktemp("winners") / "run"
    return RunContext.open(make_run(folder, tiny_videos, tiny_cache))


@pytest.fixture(scope="module")
def trained(context: RunContext) -> Winner:
    spec = winner_spec(context.run, trial(4.0), 2, 0)
    return Winner(spec, run_trial(spec, context), trial_folder(spec))


def verdict_of(fitness: float) -> Verdict:
    best = trial(fitness)
    return decide_verdict([*controls(), best], best)


@pytest.mark.parametrize("fitness", [4.0, 7.0])
def test_an_exported_winner_carries_its_warning_and_where_it_comes_from(
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


def test_a_winner_is_exported_again_only_when_the_verdict_is_another(
    context: RunContext, trained: Winner
) -> None:
    weights = export_winner(trained, verdict_of(4.0), context) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    export_winner(trained, verdict_of(4.0), context)
    assert weights.stat().st_mtime_ns == before
    export_winner(trained, verdict_of(7.0), context)
    assert json.loads((weights.parent / "config.json").read_text())["warning"]


FAILED = TrialResult(2, None, "the loss of simclr.rgb is not finite at step 1", 1.0, {})


def test_a_longer_training_that_failed_gives_way_to_the_trial_as_it_was(
    context: RunContext, trained: Winner
) -> None:
    template = TrialSpec(0, {}, context.run, 2)
    own = run_trial(replace(template, number=2, weights=WEIGHTS), context)
    row, spec = replace(trial(4.0), fitness=own.fitness), winner_spec(context.run, trial(4.0), 9, 1)
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


def test_a_failed_training_of_a_trial_whose_checkpoint_is_gone_is_an_error(
    context: RunContext,
) -> None:
    spec = winner_spec(context.run, trial(4.0, 77), 9, 2)
    with pytest.raises(RunError, match=r"longer training of trial 77 \(9 steps\) failed: the loss"):
        choose_winner(spec, FAILED, trial(4.0, 77), TrialSpec(0, {}, context.run, 2))
    assert not trial_folder(spec).exists()


def test_winners_and_reruns_have_folders_and_seeds_of_their_own(context: RunContext) -> None:
    names = [
        Path(str(winner_spec(context.run, trial(4.0), 9, rank).folder)).name for rank in range(3)
    ]
    assert names == ["winner", "winner-2", "winner-3"]
    template = winner_spec(context.run, trial(4.0), 2, 0)
    reruns = [rerun_spec(template, trial(4.0), repeat) for repeat in (1, 2)]
    assert [spec.seed for spec in reruns] == [context.run.seed + 1, context.run.seed + 2]
    assert len({spec.folder for spec in reruns}) == 2
