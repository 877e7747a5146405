"""Scales, ticks and labels of the charts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evossl.report.svg import Scale, log_ticks, shorten, spread_labels, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_are_few_even_and_inside(low: float, width: float, count: int) -> None:
    high = low + width
    found = ticks(low, high, count)
    assert len(found) <= count + 1
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert all(low - slack <= value <= high + slack for value in found)
    if len(found) > 2:
        np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-3, atol=slack)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_labels_keep_their_order_and_a_gap(wanted: list[float]) -> None:
    placed = spread_labels(wanted, 12, 0, 100)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 12 - 1e-9).all()
    assert min(placed) >= 0
    assert max(placed) <= 100 + 1e-9


def test_a_log_scale_maps_equal_ratios_to_equal_lengths() -> None:
    scale = Scale((1, 1000), (0, 30), log=True)
    np.testing.assert_allclose([scale(v) for v in (1, 10, 100, 1000)], [0, 10, 20, 30])
    assert log_ticks(1, 20) == [1, 2, 5, 10, 20]


def test_long_words_lose_only_their_middle() -> None:
    assert shorten("rgb", 20) == "rgb"
    cut = shorten("multimodal_contrast.rgb+audio", 90)
    assert cut.startswith("multi")
    assert cut.endswith("audio")
