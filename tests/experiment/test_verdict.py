"""The verdict on the best trial, checked in closed form."""

import json
import math
import statistics

import pytest

from evossl.experiment.verdict import decide_verdict, sds_below
from evossl.search.table import TrialRow
from tests.helpers.tiny_runs import WEIGHTS
from tests.helpers.trial_rows import control_rows, trial_row

SD = math.sqrt(0.1)  # of the random inits
EQUAL = TrialRow(0, "equal weights", "complete", 5.9, weights=WEIGHTS)


def test_the_verdict_compares_with_controls_and_random_inits() -> None:
    best = trial_row(4.0)
    verdict = decide_verdict([*control_rows(noise=9.0, grid=4.5), EQUAL, best], best)
    assert verdict.best_control == ("grid", 4.5)
    assert verdict.sds_below_random == pytest.approx((6.4 - 4.0) / SD)
    assert verdict.equal_weights == 5.9
    assert verdict.rerun_sd is None
    assert verdict.beats_controls
    assert verdict.warning is None
    assert "beats the controls" in verdict.line
    assert "equal weights has 5.900" in verdict.line


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
def test_a_winner_must_beat_controls_and_3_sd_of_random_inits(
    fitness: float, grid: float, beats: bool
) -> None:
    best = trial_row(fitness)
    verdict = decide_verdict([*control_rows(noise=9.0, grid=grid), best], best)
    assert verdict.beats_controls == beats
    assert (verdict.warning is None) == beats
    assert ("does NOT beat" in verdict.line) != beats


def test_the_warning_names_the_best_control_and_the_remedy() -> None:
    best = trial_row(7.0)
    warning = decide_verdict([*control_rows(), best], best).warning
    assert warning is not None
    assert "NO BETTER THAN ITS CONTROLS" in warning
    assert "Train longer" in warning
    assert "random init 0, has 6.000" in warning


def test_controls_without_a_fitness_are_ignored() -> None:
    best = trial_row(5.0)
    verdict = decide_verdict(
        [*control_rows([6.0, None, None, None, 6.8], blobs=None, noise=9.0), best], best
    )
    assert verdict.sds_below_random is None  # two are too few for a deviation
    assert verdict.best_control == ("random init 0", 6.0)
    assert verdict.beats_controls
    best = trial_row(6.0)
    assert not decide_verdict(
        [*control_rows([6.0, None, None, None, 6.8]), best], best
    ).beats_controls


def test_without_a_scored_control_the_verdict_is_negative() -> None:
    best = trial_row(1.0)
    for rows in (control_rows([None] * 5, noise=None), []):
        verdict = decide_verdict([*rows, best], best)
        assert not verdict.beats_controls
        assert "No control could be scored" in verdict.line


def test_equal_random_inits_give_no_deviation() -> None:
    best = trial_row(5.0)
    verdict = decide_verdict([*control_rows([6.0] * 5), best], best)
    assert verdict.sds_below_random is None
    assert verdict.beats_controls
    assert json.loads(json.dumps(verdict.line, allow_nan=False))


def test_reruns_give_the_gap_in_standard_deviations() -> None:
    best = trial_row(4.0)
    verdict = decide_verdict([*control_rows(), best], best, reruns=[4.2, 4.4])
    assert verdict.rerun_sd == pytest.approx(statistics.stdev([4.0, 4.2, 4.4]))
    assert verdict.rerun_sd == pytest.approx(0.2)
    assert "+10.0 standard deviations of a re-run" in verdict.line  # (6.0 - 4.0) / 0.2


def test_failed_equal_weights_have_no_fitness_in_the_verdict() -> None:
    best = trial_row(4.0)
    failed = TrialRow(0, "equal weights", "failed", None, "NaN")
    verdict = decide_verdict([*control_rows(), failed, trial_row(1.0, number=3), best], best)
    assert verdict.best_control == ("random init 0", 6.0)
    assert verdict.equal_weights is None


def test_sds_below_counts_standard_deviations_from_the_mean() -> None:
    random_inits = [1.0, 2.0, 3.0]  # mean 2, sd 1
    assert sds_below(-0.5, random_inits) == pytest.approx(2.5)
    assert sds_below(3.0, random_inits) == pytest.approx(-1)


def test_equal_random_inits_lie_infinitely_far_from_any_other() -> None:
    assert sds_below(1.9, [2.0] * 3) == math.inf
    assert sds_below(2.0, [2.0] * 3) == 0
    assert sds_below(2.1, [2.0] * 3) == -math.inf
