"""Early stopping: the best fraction of the trials that have reached a rung continues."""

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
        (1.0, [2.0, 3.0, 4.0], True),  # best of four
        (2.0, [1.0, 3.0, 4.0], True),  # second of four, so within the better half
        (3.0, [1.0, 2.0, 4.0], False),
        (math.inf, [1.0, 2.0, 4.0], False),
        (1.0, [1.0, 1.0, 1.0], True),  # equal to all the others
        (9.0, [1.0, 2.0], True),  # too few trials at the rung
    ],
)
def test_the_better_half_is_promoted(fitness: float, others: list[float], expected: bool) -> None:
    assert is_promoted(fitness, others, Stopping(keep_fraction=0.5, min_trials=4)) is expected


@given(st.lists(scores, min_size=1, max_size=30, unique=True), st.floats(0.05, 0.95))
def test_the_best_trial_is_never_stopped(arrivals: list[float], keep: float) -> None:
    rule = Stopping(keep_fraction=keep, min_trials=1)
    promoted = [s for i, s in enumerate(arrivals) if is_promoted(s, arrivals[:i], rule)]
    assert min(arrivals) in promoted


def test_rungs_are_rounded_to_reported_steps() -> None:
    assert Stopping(rungs=(0.25, 0.5)).steps(150, 7) == (35, 77)  # 37.5 and 75, to multiples of 7
    assert Stopping(rungs=(0.01, 0.99)).steps(100, 10) == (10,)  # 99 would be the last step
    assert Stopping(rungs=(0.5,)).steps(1, 1) == ()
    assert Stopping().steps(100, 10) == ()


def test_rungs_must_ascend_within_0_and_1() -> None:
    for rungs in ((0.5, 0.25), (0.5, 0.5), (0.0,), (1.0,)):
        with pytest.raises(ValidationError):
            Stopping(rungs=rungs)
