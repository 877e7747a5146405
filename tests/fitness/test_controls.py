import pytest

from evossl.errors import RunError
from evossl.fitness.controls import beats_controls, sds_below


def test_beating_controls_takes_three_sds() -> None:
    inits = [1.0, 2.0, 3.0]  # mean 2, sd 1
    assert sds_below(-0.5, inits) == pytest.approx(2.5)
    assert not beats_controls(-0.99, inits)
    assert beats_controls(-1.01, inits)
    assert sds_below(3.0, inits) == pytest.approx(-1)


def test_equal_random_inits_lose_to_any_lower_fitness() -> None:
    assert beats_controls(1.9, [2.0] * 3)
    assert not beats_controls(2.0, [2.0] * 3)
    assert not beats_controls(2.1, [2.0] * 3)


def test_two_random_inits_are_too_few() -> None:
    with pytest.raises(RunError, match="2 random inits"):
        beats_controls(0.0, [1.0, 2.0])
