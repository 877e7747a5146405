"""The loss curves show the numbers of the history."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evossl.report.loss_curves import MAX_POINTS, thinned
from tests.helpers.parsed_pages import WrittenReport, points_of


def test_loss_curves_have_the_first_and_last_step(written: WrittenReport) -> None:
    lines = (written.folder / "winner" / "history.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    charts = written.page.by_id("losses").all("svg", "small")
    assert len(charts) == 1 + len(last["loss"])
    for chart, (name, value) in zip(charts[1:], last["loss"].items(), strict=True):
        label = chart.attributes["aria-label"]
        assert label.startswith(f"{name}, raw loss: {first['loss'][name]:.4g} at step 10, ")
        assert label.endswith(f"{value:.4g} at step {last['step']}.")


def test_a_loss_curve_is_its_history_on_linear_axes(written: WrittenReport) -> None:
    text = (written.folder / "winner" / "history.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    objective, first_term = written.page.by_id("losses").all("svg", "small")[:2]
    assert objective.attributes["aria-label"].startswith(
        f"objective, weighted sum: {lines[0]['total']:.4g} at step 10"
    )
    name = next(iter(lines[0]["loss"]))
    values = np.array([line["loss"][name] for line in lines])
    x_N, y_N = points_of(first_term.one("polyline", "curve loss")).T
    assert len(x_N) == len(values)
    slope, offset = np.polyfit(values, y_N, 1)
    assert slope < 0
    np.testing.assert_allclose(y_N, slope * values + offset, atol=0.11)
    axis = first_term.one("line", "axis").attributes
    begin_x, end_x = float(axis["x1"]), float(axis["x2"])
    steps = np.array([line["step"] for line in lines])
    np.testing.assert_allclose(x_N, begin_x + (end_x - begin_x) * steps / steps[-1], atol=0.06)


@given(st.integers(1, 5000))
def test_thinning_keeps_the_ends_and_the_order(count: int) -> None:
    curve = [(step, float(step)) for step in range(count)]
    kept = thinned(curve)
    assert len(kept) == min(count, MAX_POINTS)
    assert kept[0] == curve[0]
    assert kept[-1] == curve[-1]
    assert kept == sorted(set(kept))
