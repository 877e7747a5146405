"""The pilot's statistics: noise is not trusted, and a signal is found where it begins."""

import numpy as np
import pytest

from evossl.experiment.pilot import NUM_SEEDS, NUM_WEIGHTINGS, Scores, analyse, rung_steps

STEPS = (10, 20, 40, 80)
NUM_SIMULATIONS = 1000


def simulate(seed: int, signal: tuple[float, ...]) -> Scores:
    """Fitness of weightings that differ by `signal` standard deviations of the noise, by rung."""
    rng = np.random.default_rng(seed)
    quality_W = rng.permutation(np.arange(NUM_WEIGHTINGS))
    noise = rng.normal(size=(NUM_WEIGHTINGS, NUM_SEEDS, len(signal)))
    found: Scores = (quality_W[:, None, None] * np.array(signal) + noise).tolist()
    return found


def test_noise_is_rarely_called_stable() -> None:
    found = [analyse(simulate(s, (0.0,)), (10,), s).is_stable for s in range(NUM_SIMULATIONS)]
    assert sum(found) <= 0.065 * NUM_SIMULATIONS  # 5 %, and two standard errors


def test_a_strong_signal_is_found_where_it_begins() -> None:
    chosen = [analyse(simulate(s, (0.0, 0.0, 8.0, 8.0)), STEPS, s) for s in range(100)]
    assert all(result.is_stable for result in chosen)
    assert np.mean([result.steps == 40 for result in chosen]) > 0.9


def test_trials_at_chance_rank_last_and_are_counted() -> None:
    scores: Scores = [[[None, 1.0 * w], [None, 1.0 * w + 0.1]] for w in range(6)]
    early, late = analyse(scores, (10, 20), 0).rungs
    assert (early.at_chance, late.at_chance) == (1.0, 0.0)
    assert early.p_value == 1.0
    assert early.correlation is None
    assert not early.is_trusted
    assert late.is_trusted


def test_mostly_at_chance_is_not_stable() -> None:
    scores: Scores = [[[1.0 * w], [1.0 * w]] if w < 2 else [[None], [None]] for w in range(6)]
    result = analyse(scores, (30,), 0)
    assert result.rungs[0].p_value <= 0.05
    assert not result.is_stable
    assert result.steps == 30
    assert "67% of the trainings are at chance" in result.line


def test_a_later_rung_that_disagrees_moves_the_choice() -> None:
    """Trusted at the first rung, not at the second: the choice comes after both."""
    rng = np.random.default_rng(0)
    scores = np.array(simulate(0, (9.0, 9.0, 9.0, 9.0)))
    scores[:, :, 1] = rng.permutation(scores[:, :, 1].ravel()).reshape(scores.shape[:2])
    result = analyse(scores.tolist(), STEPS, 0)
    assert result.rungs[0].is_trusted
    assert not result.rungs[1].is_trusted
    assert result.steps == 40


def test_the_result_is_a_function_of_the_seed() -> None:
    scores = simulate(1, (1.0, 1.0, 1.0, 1.0))
    assert analyse(scores, STEPS, 3) == analyse(scores, STEPS, 3)


@pytest.mark.parametrize(
    ("longest", "expected"),
    [(500, (31, 62, 124, 248, 372, 496)), (4, (1, 2, 3, 4)), (1, (1,))],
)
def test_rungs_are_multiples_of_the_first_one(longest: int, expected: tuple[int, ...]) -> None:
    assert rung_steps(longest) == expected
