"""The fitness chart shows the numbers of the trials table."""

import statistics
from pathlib import Path

import numpy as np
import pytest

from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import TERMS, begin_run
from tests.helpers.parsed_pages import WrittenReport, numbers_in, points_of, report_page


def complete(written: WrittenReport) -> list[TrialRow]:
    return [row for row in written.rows if row.status == "complete"]


def test_a_trial_stopped_early_is_shown_but_never_the_best(tmp_path: Path) -> None:
    begin_run(tmp_path)
    weights = dict.fromkeys(TERMS, 0.5)
    table = [
        TrialRow(0, "equal weights", "complete", 2.0, None, 9.0, {}, weights),
        TrialRow(
            1, "", "pruned", 1.0, "worse than half the trials at half the steps", 5.0, {}, weights
        ),
    ]
    write_table(tmp_path / "trials.parquet", table)
    page = report_page(tmp_path)
    assert (
        "The best trial so far is trial 0, with a fitness of 2.000 nats"
        in page.by_id("headline").text
    )
    assert page.by_id("indicators").one("tr", "best").all("td")[0].text == "0"
    pruned = page.by_id("trials").drawing("fitness").one("polygon", "dot pruned")
    assert pruned.text == "trial 1: 1.000 nats, stopped early"
    assert "worse than half the trials at half the steps" in page.by_id("failures").text


def test_dots_are_drawn_at_their_fitness_above_the_best_line(written: WrittenReport) -> None:
    chart = written.page.by_id("trials").drawing("fitness")
    dots = chart.all("circle", "dot trial")
    fitness = [numbers_in(dot.one("title").text)[0] for dot in dots]
    table = [row.fitness for row in complete(written) if row.trial > 0]
    assert fitness == [round(value, 3) for value in table]
    heights = [float(dot.attributes["cy"]) for dot in dots]
    slope, offset = np.polyfit(table, heights, 1)
    assert slope < 0  # lower is better, and lower on the page
    np.testing.assert_allclose(heights, slope * np.array(table) + offset, atol=0.02)
    line_N2 = points_of(chart.one("polyline", "best-line"))
    assert (np.diff(line_N2[:, 1]) >= 0).all()
    assert line_N2[-1, 1] == pytest.approx(max(heights), abs=0.06)


def test_every_failed_trial_has_a_cross_with_its_reason(written: WrittenReport) -> None:
    crosses = written.page.by_id("trials").drawing("fitness").all("path", "cross failed")
    failed = [row for row in written.rows if row.status == "failed"]
    assert [cross.one("title").text for cross in crosses] == [
        f"trial {row.trial}: failed: {row.reason}" for row in failed
    ]


def test_the_band_is_mean_and_sd_of_the_random_inits(written: WrittenReport) -> None:
    found = [row.fitness for row in written.rows if row.kind == "random_init"]
    chart = written.page.by_id("trials").drawing("fitness")
    mean, sd = numbers_in(chart.attributes["aria-label"].split("Random inits: ")[1])[:2]
    assert mean == round(statistics.fmean(found), 3)
    assert sd == round(statistics.stdev(found), 3)
    dots = chart.all("circle", "dot trial")
    px = [float(dot.attributes["cy"]) for dot in dots[:2]]
    nats = [row.fitness for row in complete(written) if row.trial > 0][:2]
    scale = (px[0] - px[1]) / (nats[1] - nats[0])
    band = chart.one("rect", "band")
    assert float(band.attributes["height"]) == pytest.approx(
        2 * scale * statistics.stdev(found), rel=0.03
    )


def test_controls_and_equal_weights_are_labelled(written: WrittenReport) -> None:
    chart = written.page.by_id("trials").drawing("fitness")
    labels = " ".join(node.text for node in chart.all("text"))
    for name in ("random inits", "noise", "zipf blobs", "colour grid", "equal weights"):
        assert name in labels
    assert len(chart.all("polygon", "dot equal")) == 1
