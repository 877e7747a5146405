"""The verdict: its three outcomes in closed form, and its error rate in simulated searches."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from evossl.experiment.racing import race, round_sizes
from evossl.experiment.verdict import (
    Evidence,
    Verdict,
    VerdictScore,
    decide_verdict,
)
from evossl.experiment.verdict_scores import NUM_RANDOM_INITS
from evossl.search.table import TrialRow

INITS = [2.0 + 0.1 * i for i in range(-4, 5)]  # mean 2, sd sqrt(0.075)
SD = math.sqrt(0.075)
EVIDENCE = Evidence(num_clips=400, num_videos=1600, num_compared=1, steps=300)
T_8_AT_2_5_PERCENT = 2.306004  # a table of Student's t, 8 degrees of freedom, one-sided
BAR = 2.0 - T_8_AT_2_5_PERCENT * SD * math.sqrt(1 + 1 / 9)


def scores(*others: VerdictScore, inits: list[float] = INITS) -> list[VerdictScore]:
    random = [VerdictScore(f"random init {i}", f, kind="random_init") for i, f in enumerate(inits)]
    return [*random, *others]


def verdict(fitness: float, *others: VerdictScore, **evidence: object) -> Verdict:
    found = replace(EVIDENCE, **evidence)
    return decide_verdict(VerdictScore("trial 3", fitness), scores(*others), found)


GRID = VerdictScore("colour grid", 1.2, kind="colour_grid")
AT_CHANCE = VerdictScore("trial 3", None, "at chance: AMI 0.010", lower_bound=3.9)
NOISE = VerdictScore("noise", None, "at chance: AMI 0.001", lower_bound=4.4, kind="noise")


def test_the_bar_is_a_prediction_interval_of_students_t() -> None:
    found = verdict(0.4)
    assert found.bar == pytest.approx(BAR, abs=1e-5)
    assert found.random_mean == pytest.approx(2.0)
    assert found.random_sd == pytest.approx(SD)


@pytest.mark.parametrize(
    ("fitness", "outcome"),
    [
        (BAR - 0.01, "better"),
        (BAR + 0.01, "cannot_tell"),  # lower than the mean random init, but not by enough
        (1.99, "cannot_tell"),
        (2.0, "not_better"),
        (5.0, "not_better"),
    ],
)
def test_the_outcome_depends_on_bar_and_mean(fitness: float, outcome: str) -> None:
    found = verdict(fitness)
    assert found.outcome == outcome
    assert (found.warning is None) == (outcome == "better")
    assert f"needs less than {BAR:.3f}" in found.line
    assert f"it has {fitness:.3f} nats" in found.line
    json.dumps(found.line)


def test_every_control_must_be_beaten() -> None:
    assert verdict(1.25, GRID).outcome == "not_better"
    assert verdict(1.15, GRID).outcome == "better"
    assert verdict(1.15, GRID).bar == pytest.approx(1.2)
    assert "The best other control, colour grid, has 1.200 nats." in verdict(1.25, GRID).line


def test_a_control_at_chance_counts_with_the_least_it_can_be() -> None:
    assert verdict(0.4, NOISE).outcome == "better"
    found = decide_verdict(
        VerdictScore("trial 3", 1.0),
        [replace(NOISE, name=f"random init {i}", kind="random_init") for i in range(5)],
        EVIDENCE,
    )
    assert (found.outcome, found.random_mean) == ("better", 4.4)
    assert "at least, as 5 of them are at chance" in found.line


def test_more_encoders_to_choose_from_lower_the_bar() -> None:
    bars = [verdict(0.4, num_compared=n).bar for n in (1, 16, 128)]
    assert bars == sorted(bars, reverse=True)
    assert bars[2] < bars[0] - 2 * SD


def test_an_encoder_at_chance_is_not_better_or_unknown() -> None:
    many = decide_verdict(AT_CHANCE, scores(), EVIDENCE)
    assert many.outcome == "not_better"
    assert "it is at chance; it needs less than" in many.line
    few = decide_verdict(AT_CHANCE, scores(), replace(EVIDENCE, num_clips=60, num_videos=240))
    assert few.outcome == "cannot_tell"
    assert "needed are 400 of them (about 1,600 videos)" in few.line


def test_a_bar_that_no_encoder_can_reach_cannot_tell() -> None:
    """120 real clips once had a bar of -1.96 nats, and a banner that said "train longer"."""
    inits = [0.5, 1.5, 2.0, 3.0, 4.5]
    for fitness in (0.2, 6.0):
        found = decide_verdict(
            VerdictScore("trial 3", fitness), scores(inits=inits), replace(EVIDENCE, num_videos=120)
        )
        assert found.bar < 0
        assert found.outcome == "cannot_tell"
        assert "videos instead of 120, or a training of more than 300 steps" in found.line
    own = replace(EVIDENCE, least_fitness=None)  # a user's function may be negative
    found = decide_verdict(VerdictScore("trial 3", 6.0), scores(inits=inits), own)
    assert found.outcome == "not_better"


def test_the_needed_videos_would_put_the_bar_at_the_fitness() -> None:
    halfway = (2 + BAR) / 2  # half as far from the mean as it must be: 4 times the videos
    found = verdict(halfway - 1e-4)
    assert "Needed are about 6,400 videos instead of 1,600" in found.line
    assert "Needed is a training of more than 300 steps." in verdict(1.9999).line


def test_without_a_verdict_set_nothing_can_be_told() -> None:
    found = decide_verdict(None, (), replace(EVIDENCE, num_clips=0, num_videos=120))
    assert found.outcome == "cannot_tell"
    assert "With 120 videos, none could be kept aside for a verdict" in found.line
    assert "240 videos are needed" in found.line


def test_with_two_scored_random_inits_nothing_can_be_told() -> None:
    inits = scores(inits=[2.0, 2.1])
    failed = [VerdictScore("random init 2", None, "collapsed", kind="random_init")]
    found = decide_verdict(VerdictScore("trial 3", 0.1), [*inits, *failed], EVIDENCE)
    assert found.outcome == "cannot_tell"
    assert "Too few random inits could be scored" in found.line


def test_a_rejected_encoder_is_not_better() -> None:
    rejected = VerdictScore("trial 3", None, "collapsed: sd 0.01")
    assert decide_verdict(rejected, scores(), EVIDENCE).outcome == "not_better"


def test_equal_weights_are_compared_in_words() -> None:
    equal = VerdictScore("equal weights", 0.7)
    found = decide_verdict(VerdictScore("trial 3", 0.4), scores(), EVIDENCE, equal)
    assert "The encoder of equal weights, trained as long, has 0.700 nats." in found.line


def simulate_search(
    rng: np.random.Generator, num_trials: int, persistent: float, gain: float
) -> Verdict:
    """Return the verdict of a search over encoders with simulated scores.

    Args:
        rng: of all draws.
        num_trials: re-runs included.
        persistent: share of the variance of a score that lies in the encoder, so that selection can
            find it; the rest is drawn anew for each set of clips.
        gain: sds by which every trial is truly better than the random inits.
    """
    in_encoder, in_clips = math.sqrt(persistent), math.sqrt(1 - persistent)
    sizes = round_sizes(num_trials // 4 if num_trials >= 12 else 0)
    true = rng.normal(10 - gain, in_encoder, num_trials - sum(sizes))
    selected = true + in_clips * rng.normal(size=len(true))
    rows = sorted(
        (TrialRow(i, "", "complete", float(f)) for i, f in enumerate(selected)),
        key=lambda row: row.fitness,
    )

    def run_again(rows: list[TrialRow], number: int) -> list[float]:
        return [float(true[row.trial] + in_clips * rng.normal()) for row in rows]

    winner = race(rows, sizes, run_again)[0].row.trial
    judged = VerdictScore("winner", float(true[winner] + in_clips * rng.normal()))
    controls = scores(inits=[float(x) for x in rng.normal(10, 1, NUM_RANDOM_INITS)])
    return decide_verdict(judged, controls, replace(EVIDENCE, num_compared=num_trials))


@pytest.mark.parametrize("persistent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_trials", [1, 16, 128])
def test_null_searches_pass_at_most_5_percent(num_trials: int, persistent: float) -> None:
    rng = np.random.default_rng(num_trials)
    outcomes = [simulate_search(rng, num_trials, persistent, 0).outcome for _ in range(1000)]
    assert outcomes.count("better") <= 50


@pytest.mark.parametrize("persistent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_trials", [1, 16, 128])
def test_6_sds_of_difference_pass_80_percent(num_trials: int, persistent: float) -> None:
    rng = np.random.default_rng(num_trials)
    outcomes = [simulate_search(rng, num_trials, persistent, 6).outcome for _ in range(1000)]
    assert outcomes.count("better") >= 800
