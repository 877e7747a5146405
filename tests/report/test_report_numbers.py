"""Numbers on the page are the files' numbers, computed here again from the table and the JSON."""

import base64
import json
import math
import re
import statistics
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evossl.report import write_report
from evossl.report.clusters import divergence
from evossl.report.evolution import drift
from evossl.report.losses import MAX_POINTS, thinned
from evossl.report.records import Clusters
from evossl.report.tables import shown
from evossl.report.trials import running_best
from evossl.report.weights import effective, grouped
from evossl.report.words import duration, meaning_of_ignores, resume_command
from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import TERMS, begin, rows, write_winner
from tests.helpers.parsed_pages import Node, Written, parse


def numbers_in(words: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.\d+", words)]


def winner_json(written: Written) -> dict:
    return json.loads((written.folder / "winner" / "winner.json").read_text())


def points_of(node: Node) -> np.ndarray:
    return np.array([pair.split(",") for pair in node.attributes["points"].split()], float)


def scored(rows_: list[TrialRow]) -> list[TrialRow]:
    return [row for row in rows_ if row.trial >= 0 and row.status == "complete"]


def test_the_best_so_far_is_the_minimum_of_all_trials_up_to_each(written: Written) -> None:
    values = {row.trial: row.fitness for row in scored(written.rows)}
    for trial, best in running_best([row for row in written.rows if row.trial >= 0]):
        assert best == min(value for number, value in values.items() if number <= trial)
    assert len(running_best(list(written.rows))) == len(values)


def test_a_pruned_trial_is_shown_but_is_never_the_best(tmp_path: Path) -> None:
    begin(tmp_path)
    weights = dict.fromkeys(TERMS, 0.5)
    table = [
        TrialRow(0, "equal weights", "complete", 2.0, None, 9.0, {}, weights),
        TrialRow(1, "", "pruned", 1.0, "behind at half the steps", 5.0, {}, weights),
    ]
    write_table(tmp_path / "trials.parquet", table)
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Best so far: trial 0, 2.000 nats" in page.by_id("headline").text
    assert page.by_id("indicators").one("tr", "best").all("td")[0].text == "0"
    pruned = page.by_id("trials").drawing("fitness").one("polygon", "dot pruned")
    assert pruned.text == "trial 1: 1.000 nats, pruned"
    assert "behind at half the steps" in page.by_id("failures").text


def test_dots_lie_where_their_fitness_is_and_the_line_under_them(written: Written) -> None:
    chart = written.page.by_id("trials").drawing("fitness")
    dots = chart.all("circle", "dot trial")
    fitness = [numbers_in(dot.one("title").text)[0] for dot in dots]
    table = [row.fitness for row in scored(written.rows) if row.trial > 0]
    assert fitness == [round(value, 3) for value in table]
    heights = [float(dot.attributes["cy"]) for dot in dots]
    slope, offset = np.polyfit(table, heights, 1)
    assert slope < 0  # lower is better, and lower on the page
    np.testing.assert_allclose(heights, slope * np.array(table) + offset, atol=0.02)
    line_N2 = points_of(chart.one("polyline", "best-line"))
    assert (np.diff(line_N2[:, 1]) >= 0).all()
    assert line_N2[-1, 1] == pytest.approx(max(heights), abs=0.06)


def test_every_failed_trial_has_a_cross_with_its_reason(written: Written) -> None:
    crosses = written.page.by_id("trials").drawing("fitness").all("path", "cross failed")
    failed = [row for row in written.rows if row.status == "failed"]
    assert [cross.one("title").text for cross in crosses] == [
        f"trial {row.trial}: failed: {row.reason}" for row in failed
    ]


def test_the_band_is_mean_and_sd_of_the_random_inits(written: Written) -> None:
    found = [row.fitness for row in written.rows if row.name.startswith("random init")]
    chart = written.page.by_id("trials").drawing("fitness")
    mean, sd = numbers_in(chart.attributes["aria-label"].split("random inits: ")[1])[:2]
    assert mean == round(statistics.fmean(found), 3)
    assert sd == round(statistics.stdev(found), 3)
    dots = chart.all("circle", "dot trial")
    px = [float(dot.attributes["cy"]) for dot in dots[:2]]
    nats = [row.fitness for row in scored(written.rows) if row.trial > 0][:2]
    scale = (px[0] - px[1]) / (nats[1] - nats[0])
    band = chart.one("rect", "band")
    assert float(band.attributes["height"]) == pytest.approx(
        2 * scale * statistics.stdev(found), rel=0.03
    )


def test_every_control_and_equal_weights_are_named_beside_the_chart(written: Written) -> None:
    chart = written.page.by_id("trials").drawing("fitness")
    labels = " ".join(node.text for node in chart.all("text"))
    for name in ("random inits", "noise", "zipf blobs", "colour grid", "equal weights"):
        assert name in labels
    assert len(chart.all("polygon", "dot equal")) == 1


def test_bars_are_as_long_as_the_weights_that_training_used(written: Written) -> None:
    proposed = winner_json(written)["weights"]
    kept = {term: weight for term, weight in proposed.items() if weight >= 0.05}
    bars = written.page.by_id("weights").drawing("weights").all("rect", "bar")
    found = {}
    for bar in bars:
        term, _, words = bar.one("title").text.partition(": ")
        found[term] = (float(bar.attributes["width"]), *numbers_in(words))
    assert found.keys() == kept.keys()
    total = sum(kept.values())
    unit = sum(width for width, *_ in found.values())
    for term, (width, used, was) in found.items():
        assert used == round(kept[term] / total, 3)
        assert was == round(kept[term], 3)
        assert width / unit == pytest.approx(kept[term] / total, abs=1e-4)


def test_a_pruned_weight_is_grey_and_says_what_it_was(tmp_path: Path) -> None:
    info = begin(tmp_path)
    table = rows(2)
    weights = dict.fromkeys(TERMS, 0.5) | {"simclr.flow": 0.049, "order_binary.rgb": 0.0}
    table[-1] = replace(table[-1], weights=weights, fitness=0.5)
    write_table(tmp_path / "trials.parquet", table)
    write_winner(tmp_path, info, table)
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    off = page.by_id("weights").drawing("weights").all("rect", "bar off")
    assert {rect.one("title").text for rect in off} == {
        "simclr.flow: off (proposed 0.049)",
        "order_binary.rgb: off (proposed 0.000)",
    }
    assert f"{len(TERMS) - 2} terms on, 2 off" in page.by_id("weights").text


def test_a_distillation_that_was_not_trained_is_off_whatever_its_weight() -> None:
    weights = {"simclr.rgb": 0.2, "distill.flow->rgb.stage3": 0.9}
    used = effective(weights, 0.05, True, {"simclr.rgb"})
    assert used == {"simclr.rgb": 1.0, "distill.flow->rgb.stage3": 0.0}


def test_the_papers_raw_sum_is_not_rescaled() -> None:
    weights = {"a.rgb": 0.2, "b.rgb": 0.9, "c.rgb": 0.01}
    assert effective(weights, 0.05, False, None) == {"a.rgb": 0.2, "b.rgb": 0.9, "c.rgb": 0.0}


def test_a_weight_at_the_threshold_is_kept_as_training_keeps_it() -> None:
    assert effective({"a.rgb": 0.05, "b.rgb": 0.15}, 0.05, True, None) == {
        "a.rgb": pytest.approx(0.25),
        "b.rgb": pytest.approx(0.75),
    }


def test_terms_stand_by_task_heaviest_first() -> None:
    weights = {"a.rgb": 0.2, "b.flow": 0.1, "b.rgb": 0.15, "c.rgb": 0.0}
    assert [(group.task, group.terms) for group in grouped(weights)] == [
        ("b", (("rgb", "b.rgb"), ("flow", "b.flow"))),
        ("a", (("rgb", "a.rgb"),)),
        ("c", (("rgb", "c.rgb"),)),
    ]


def test_drift_is_the_last_quarter_minus_the_first() -> None:
    weight_NR = np.array([[0.1, 0.5]] * 2 + [[0.9, 0.0]] * 4 + [[0.4, 0.2]] * 2)
    np.testing.assert_allclose(drift(weight_NR), [0.3, -0.3])
    assert not drift(weight_NR[1:]).any()


def moved_late(first: int, **changes: None) -> list[TrialRow]:
    """Eight trials: those proposed first, `first` of them, ended last, and weigh `simclr.rgb` 1."""
    return [
        TrialRow(
            trial, "", "complete", 2.0, None, 9.0, {},
            {"simclr.rgb": float(trial < first), "simclr.flow": 0.5},
            **{"completed": (trial - first) % 8} | changes,
        )
        for trial in range(8)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "order", "drift_"),
    [
        ({}, "trials in the order they ended", "+1.00"),
        ({"completed": None}, "trials in the order of proposal", "-1.00"),
    ],
)
def test_weights_move_in_the_order_in_which_trials_ended_where_the_table_says_it(
    tmp_path: Path, changes: dict[str, None], order: str, drift_: str
) -> None:
    begin(tmp_path)
    running = TrialRow(8, "", "running", weights={"simclr.rgb": 0.0, "simclr.flow": 0.0})
    write_table(tmp_path / "trials.parquet", [*moved_late(2, **changes), running])
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    chart = page.by_id("evolution").drawing("map")
    words = [node.text for node in chart.all("text")]
    assert order in words
    assert drift_ in words
    assert words[-8:] == list("12345678")
    (image,) = chart.all("image")
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(image.attributes["href"][22:]))))
    brightest = pixels.sum(axis=(0, 2)).argsort()[-2:]
    assert sorted(brightest) == ([6, 7] if drift_ == "+1.00" else [0, 1])


def test_cluster_bars_and_zipfs_line_share_one_scale(written: Written) -> None:
    clusters = json.loads((written.folder / "winner" / "clusters.json").read_text())
    chart = written.page.by_id("clusters").drawing("clusters")
    bars = chart.all("rect", "bar")
    heights = [float(bar.attributes["height"]) for bar in bars]
    ground = float(bars[0].attributes["y"]) + heights[0]
    unit = heights[0] / clusters["shares"][0]
    np.testing.assert_allclose(heights, unit * np.array(clusters["shares"]), atol=0.02)
    line_N2 = points_of(chart.one("polyline", "zipf"))
    np.testing.assert_allclose(ground - line_N2[:, 1], unit * np.array(clusters["zipf"]), atol=0.1)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_the_divergence_is_kl_in_nats(raw: list[float]) -> None:
    shares = [value / sum(raw) for value in raw]
    zipf = [1 / len(raw)] * len(raw)  # from the uniform law: log K minus the entropy
    entropy = -sum(p * math.log(p) for p in shares)
    found = divergence(Clusters(shares=shares, zipf=zipf, examples=[]))
    assert found == pytest.approx(math.log(len(raw)) - entropy, abs=1e-9)


def test_the_table_holds_every_number_sorted_by_fitness(written: Written) -> None:
    table = written.page.by_id("indicators").one("table", "sortable trials")
    heads = [head.text.split()[0].rstrip(",") for head in table.all("th")]
    by_trial = {row.trial: row for row in written.rows}
    body = [[cell.text for cell in row.all("td")] for row in table.one("tbody").all("tr")]
    assert len(body) == len(by_trial)
    fitness = [float(cells[3]) for cells in body if cells[3] != "–"]  # noqa: RUF001
    assert fitness == sorted(fitness)
    for cells in body:
        row = by_trial[int(cells[0])]
        assert cells[2] == row.status
        assert cells[3] == ("–" if row.fitness is None else f"{row.fitness:.3f}")  # noqa: RUF001
        for head, cell in zip(heads[5:], cells[5:], strict=True):
            assert cell == shown(row.indicators.get(head))


def test_loss_curves_begin_and_end_where_the_history_does(written: Written) -> None:
    lines = (written.folder / "winner" / "history.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    charts = written.page.by_id("losses").all("svg", "small")
    assert len(charts) == 1 + len(last["loss"])
    for chart, (name, value) in zip(charts[1:], last["loss"].items(), strict=True):
        label = chart.attributes["aria-label"]
        assert label.startswith(f"{name}, raw loss: {first['loss'][name]:.4g} at step 10, ")
        assert label.endswith(f"{value:.4g} at step {last['step']}.")


def test_a_loss_curve_is_its_history_on_linear_axes(written: Written) -> None:
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


def test_evaluation_bars_stand_beside_random_init_on_one_scale(written: Written) -> None:
    scores = json.loads((written.folder / "winner" / "evaluation.json").read_text())
    chart = written.page.by_id("evaluation").drawing("evaluation")
    widths = {
        side: [float(bar.attributes["width"]) for bar in chart.all("rect", f"bar {class_}")]
        for side, class_ in (("encoder", "ours"), ("random_init", "random"))
    }
    for side, found in widths.items():
        means = [
            value
            for metrics in scores[side].values()
            for name, value in metrics.items()
            if not name.endswith("_interval")
        ]
        np.testing.assert_allclose(found, np.array(means) * found[0] / means[0], atol=0.02)
    assert widths["encoder"][0] / widths["random_init"][0] == pytest.approx(0.62 / 0.41, rel=1e-3)
    assert "0.620 [0.580, 0.660]" in chart.attributes["aria-label"]


@pytest.mark.parametrize(("fitness", "is_warned"), [(0.5, False), (3.3, True)])
def test_the_banner_is_there_if_and_only_if_the_winner_has_a_warning(
    fitness: float, is_warned: bool, tmp_path: Path
) -> None:
    info = begin(tmp_path)
    table = [row for row in rows(1) if row.trial < 0]
    weights = dict.fromkeys(TERMS, 0.5)
    table.append(TrialRow(0, "equal weights", "complete", fitness, None, 9.0, {}, weights))
    write_table(tmp_path / "trials.parquet", table)
    write_winner(tmp_path, info, table)
    verdict = json.loads((tmp_path / "winner" / "winner.json").read_text())["verdict"]
    assert (verdict["warning"] is not None) is is_warned
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    banners = page.all("div", "banner")
    assert len(banners) == is_warned
    if is_warned:
        assert verdict["warning"] in banners[0].text
    assert verdict["line"] in page.by_id("headline").text


def test_set_aside_videos_are_counted_and_listed_with_their_reasons(written: Written) -> None:
    words = written.page.by_id("failures").text
    for part in ("2 files set aside", "/archive/holiday.mp4", "truncated: no frame can be read"):
        assert part in words
    assert "48readable videos, 2 set aside" in written.page.by_id("headline").text.replace("\n", "")


def test_command_seed_and_versions_are_there(written: Written) -> None:
    words = written.page.by_id("again").text
    for part in ("--space tiny --trials 60 --out run --resume", "numpy ", "seed", "git"):
        assert part in words


def test_only_verbs_that_resume_get_a_resume_command() -> None:
    assert resume_command("evossl search --out run") == "evossl search --out run --resume"
    assert resume_command("evossl search --resume --out r") == "evossl search --resume --out r"
    assert resume_command("evossl demo --out run") is None
    assert resume_command("evossl search 'open") is None


def test_colour_decides_between_motion_and_appearance() -> None:
    assert "(motion)" in meaning_of_ignores(["colour", "crop", "time"])
    assert "(appearance)" in meaning_of_ignores(["crop", "time"])
    assert meaning_of_ignores([]).startswith("Nothing is ignored")


def test_durations_are_said_as_people_say_them() -> None:
    said = [duration(seconds) for seconds in (None, 3.21, 59, 185, 7800)]
    assert said == ["–", "3.2 s", "59 s", "3 min 05 s", "2 h 10 min"]  # noqa: RUF001
