"""Who goes on at a rung: the best share of those that have come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evossl.config import Stopping
from evossl.search.stopping import is_promoted

scores = st.floats(-5, 5)


@pytest.mark.parametrize(
    ("fitness", "others", "expected"),
    [
        (1.0, [2.0, 3.0, 4.0], True),  # the best of four
        (2.0, [1.0, 3.0, 4.0], True),  # the second of four: still in the better half
        (3.0, [1.0, 2.0, 4.0], False),
        (math.inf, [1.0, 2.0, 4.0], False),
        (1.0, [1.0, 1.0, 1.0], True),  # as good as all the others
        (9.0, [1.0, 2.0], True),  # too few have come
    ],
)
def test_the_better_half_goes_on(fitness: float, others: list[float], expected: bool) -> None:
    assert is_promoted(fitness, others, Stopping(keep_fraction=0.5, min_trials=4)) is expected


@given(st.lists(scores, min_size=1, max_size=30, unique=True), st.floats(0.05, 0.95))
def test_of_those_that_come_in_any_order_the_best_never_stops(
    come: list[float], keep: float
) -> None:
    rule = Stopping(keep_fraction=keep, min_trials=1)
    going = [score for i, score in enumerate(come) if is_promoted(score, come[:i], rule)]
    assert min(come) in going


def test_rungs_are_reported_steps_before_the_last() -> None:
    assert Stopping(rungs=(0.25, 0.5)).steps(150, 7) == (35, 77)  # 37.5 and 75, to sevens
    assert Stopping(rungs=(0.01, 0.99)).steps(100, 10) == (10,)  # 99 would be its end
    assert Stopping(rungs=(0.5,)).steps(1, 1) == ()
    assert Stopping().steps(100, 10) == ()


def test_rungs_that_do_not_ascend_or_lie_outside_are_refused() -> None:
    for rungs in ((0.5, 0.25), (0.5, 0.5), (0.0,), (1.0,)):
        with pytest.raises(ValidationError):
            Stopping(rungs=rungs)
