"""The bars show the loss weights as the training used them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evossl.report.weight_bars import group_by_task, weights_in_use
from evossl.search.table import write_table
from tests.helpers.fabricated_runs import TERMS, begin_run, trial_rows, write_winner
from tests.helpers.parsed_pages import WrittenReport, numbers_in, report_page


def winner_json(written: WrittenReport) -> dict:
    return json.loads((written.folder / "winner" / "winner.json").read_text())


def test_bar_lengths_are_the_weights_in_use(written: WrittenReport) -> None:
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


def test_a_pruned_weight_is_grey_and_shows_the_proposed_one(tmp_path: Path) -> None:
    info = begin_run(tmp_path)
    table = trial_rows(2)
    weights = dict.fromkeys(TERMS, 0.5) | {"simclr.flow": 0.049, "order_binary.rgb": 0.0}
    table[-1] = replace(table[-1], weights=weights, fitness=0.5)
    write_table(tmp_path / "trials.parquet", table)
    write_winner(tmp_path, info, table)
    page = report_page(tmp_path)
    off = page.by_id("weights").drawing("weights").all("rect", "bar off")
    assert {rect.one("title").text for rect in off} == {
        "simclr.flow: off (proposed 0.049)",
        "order_binary.rgb: off (proposed 0.000)",
    }
    assert f"{len(TERMS) - 2} terms on, 2 off" in page.by_id("weights").text


def test_an_untrained_distillation_term_is_off() -> None:
    weights = {"simclr.rgb": 0.2, "distill.flow->rgb.stage3": 0.9}
    used = weights_in_use(weights, 0.05, True, {"simclr.rgb"})
    assert used == {"simclr.rgb": 1.0, "distill.flow->rgb.stage3": 0.0}


def test_weights_of_the_raw_sum_are_not_rescaled() -> None:
    weights = {"a.rgb": 0.2, "b.rgb": 0.9, "c.rgb": 0.01}
    assert weights_in_use(weights, 0.05, False, None) == {"a.rgb": 0.2, "b.rgb": 0.9, "c.rgb": 0.0}


def test_a_weight_at_the_threshold_is_not_pruned() -> None:
    assert weights_in_use({"a.rgb": 0.05, "b.rgb": 0.15}, 0.05, True, None) == {
        "a.rgb": pytest.approx(0.25),
        "b.rgb": pytest.approx(0.75),
    }


def test_terms_are_grouped_by_task_heaviest_first() -> None:
    weights = {"a.rgb": 0.2, "b.flow": 0.1, "b.rgb": 0.15, "c.rgb": 0.0}
    assert [(group.task, group.terms) for group in group_by_task(weights)] == [
        ("b", (("rgb", "b.rgb"), ("flow", "b.flow"))),
        ("a", (("rgb", "a.rgb"),)),
        ("c", (("rgb", "c.rgb"),)),
    ]
