"""Racing: how many re-runs each round has, and who wins."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest

from evossl.experiment.racing import Racer, race, round_sizes
from evossl.search.table import TrialRow
from tests.helpers.trial_rows import trial_row


@pytest.mark.parametrize(
    ("num_reruns", "sizes"),
    [
        (0, []),
        (1, []),  # a single re-run compares nothing
        (2, [2]),
        (3, [3]),
        (5, [3]),
        (6, [4, 2]),
        (8, [5, 2]),
        (14, [8, 4, 2]),
    ],
)
def test_rounds_halve_and_stay_within_the_budget(num_reruns: int, sizes: list[int]) -> None:
    assert round_sizes(num_reruns) == sizes


@pytest.mark.parametrize("num_reruns", range(2, 60))
def test_no_larger_race_would_fit_the_budget(num_reruns: int) -> None:
    sizes = round_sizes(num_reruns)
    assert sum(sizes) <= num_reruns
    assert all(later == earlier // 2 for earlier, later in pairwise(sizes))
    assert sum(round_sizes(num_reruns + 8)) >= sum(sizes)


def test_the_lowest_mean_wins_and_dropped_trials_follow() -> None:
    rows = [trial_row(fitness, number) for number, fitness in enumerate((1.0, 1.1, 1.2, 1.3, 1.4))]
    scores = {1: {0: 3.0, 1: 1.0, 2: 1.1, 3: 9.0}, 2: {1: 2.0, 2: 1.0}}
    rounds: list[list[int]] = []

    def run_round(runners: Sequence[TrialRow], number: int) -> list[float | None]:
        rounds.append([row.trial for row in runners])
        return [scores[number][row.trial] for row in runners]

    found = race(rows, [4, 2], run_round)
    assert rounds == [[0, 1, 2, 3], [1, 2]]
    assert [racer.row.trial for racer in found] == [2, 1, 0, 3, 4]
    assert found[0].reruns == (1.1, 1.0)
    assert found[0].mean == pytest.approx((1.2 + 1.1 + 1.0) / 3)


def test_a_rerun_without_a_fitness_loses() -> None:
    rows = [trial_row(1.0, 0), trial_row(1.5, 1)]
    found = race(rows, [2], lambda runners, _: [None, 1.6])
    assert [racer.row.trial for racer in found] == [1, 0]
    assert found[1].mean == math.inf


def test_a_race_with_one_trial_runs_nothing() -> None:
    def refuse(*_: object) -> list[float | None]:
        raise AssertionError("nothing to compare")

    assert race([trial_row(1.0)], [4, 2], refuse) == [Racer(trial_row(1.0))]
