import math

import pytest
import torch
from scipy import stats

from evossl.config import Fitness
from evossl.evaluation.audit import DIRECTIONS, audit
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score


def rows(fitness, rankme):
    return [
        {"trial": i, "fitness": f, "indicator.rankme": r, "weight.simclr.rgb": 1.0}
        for i, (f, r) in enumerate(zip(fitness, rankme, strict=True))
    ]


def test_directions_are_turned_so_that_plus_one_is_agreement() -> None:
    accuracy = {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.9}
    table = audit(rows([4.0, 3.0, 2.0, 1.0], [9.0, 8.0, 7.0, 1.0]), accuracy)
    assert [(one.score, one.spearman) for one in table] == [("fitness", 1.0), ("rankme", -1.0)]


def test_it_equals_scipys_spearman_with_ties() -> None:
    fitness, accuracy = [0.3, 0.1, 0.1, 0.9, 0.5], [0.5, 0.7, 0.6, 0.5, 0.1]
    table = audit(rows(fitness, [1.0] * 5), dict(enumerate(accuracy)))
    expected = -stats.spearmanr(fitness, accuracy).statistic
    assert table[0].spearman == pytest.approx(expected)
    low, high = table[0].interval
    z, half = math.atanh(expected), 1.959964 * math.sqrt((1 + expected**2 / 2) / 2)
    assert (low, high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)), abs=1e-6)


def test_failed_trials_and_constant_scores_have_no_correlation() -> None:
    table = audit(rows([None, math.nan, 1.0, 2.0], [5.0] * 4), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert [(one.score, one.spearman, one.num_trials) for one in table] == [
        ("fitness", None, 2),
        ("rankme", None, 4),
    ]


def test_trials_without_accuracy_are_left_out() -> None:
    table = audit(rows([1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 9.0]), {0: 0.3, 1: 0.2, 2: 0.1})
    assert {one.num_trials for one in table} == {3}
    assert table[0].interval is None


def test_alpha_is_better_the_nearer_it_is_to_one() -> None:
    alphas = [3.0, 0.5, 1.2, 1.0]
    trials = [{"trial": i, "fitness": 1.0, "indicator.alpha_req": a} for i, a in enumerate(alphas)]
    table = audit(trials, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert table[0].spearman == 1.0


def test_every_indicator_of_the_fitness_has_a_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(64, 8, generator=generator) for _ in range(4)]
    found = score(ScoringFeatures(*views), Fitness(clusters=4), 0).indicators
    assert set(found) <= set(DIRECTIONS)
