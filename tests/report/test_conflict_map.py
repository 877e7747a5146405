"""The matrix of gradient conflicts shows the means of the cosines in the history."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from evossl.report.conflict_map import MAX_OPACITY, conflict_map, mean_conflicts
from evossl.report.records import Conflict, Step
from tests.helpers.fabricated_runs import begin_run, write_training
from tests.helpers.parsed_pages import Node, Page, WrittenReport, parse, report_page


def steps_of(*matrices: tuple[list[str], list[list[float]]]) -> list[Step]:
    return [
        Step(step=10 * i, total=1.0, loss={}, conflict=Conflict(terms=terms, cosine=cosine))
        for i, (terms, cosine) in enumerate(matrices, 1)
    ]


def page_of(folder: Path, terms: list[str]) -> Page:
    begin_run(folder, command="evossl train --data /archive --space tiny --out run")
    write_training(folder, terms, 100)
    return report_page(folder)


def title_of(cell: Node) -> tuple[str, str, float]:
    """The two terms and the cosine in the title of a cell."""
    found = re.match(r"(.+) and (.+?): ([+-]\d\.\d\d)", cell.one("title").text)
    assert found
    return found[1], found[2], float(found[3])


def test_each_cell_is_the_mean_over_the_measured_steps(written: WrittenReport) -> None:
    lines = (written.folder / "winner" / "history.jsonl").read_text().splitlines()
    matrices = [found for line in lines if (found := json.loads(line)["conflict"])]
    assert len(matrices) == 5
    terms = matrices[0]["terms"]
    mean_TT = np.mean([matrix["cosine"] for matrix in matrices], axis=0)
    chart = written.page.by_id("conflicts").drawing("conflicts")
    cells = chart.all("rect", "agreement") + chart.all("rect", "conflict")
    assert len(cells) == len(terms) * (len(terms) - 1)
    assert len(chart.all("rect", "self")) == len(terms)
    strongest = np.abs(mean_TT[~np.eye(len(terms), dtype=bool)]).max()
    for cell in cells:
        one, other, cosine = title_of(cell)
        mean = mean_TT[terms.index(one), terms.index(other)]
        assert cosine == pytest.approx(mean, abs=0.0051)
        assert cell.attributes["class"] == ("agreement" if mean > 0 else "conflict")
        opacity = float(cell.attributes["fill-opacity"])
        assert opacity == pytest.approx(MAX_OPACITY * abs(mean) / strongest, abs=0.006)


def test_rows_and_columns_have_the_same_order_by_mean(
    written: WrittenReport,
) -> None:
    chart = written.page.by_id("conflicts").drawing("conflicts")
    cells = chart.all("rect", "agreement") + chart.all("rect", "conflict")
    x = {title_of(cell)[1]: float(cell.attributes["x"]) for cell in cells}
    y = {title_of(cell)[0]: float(cell.attributes["y"]) for cell in cells}
    assert sorted(x, key=lambda term: x[term]) == sorted(y, key=lambda term: y[term])
    means = [float(node.text) for node in chart.all("text") if node.text[0] in "+-"]
    at_side = [
        float(node.text) for node in chart.all("text", "value")
        if node.attributes["text-anchor"] == "end"
    ]  # fmt: skip
    assert at_side == sorted(at_side, reverse=True)
    assert len(at_side) == len(y)
    assert len(means) == len(at_side) ** 2  # a number in each cell of the wide drawing, and those


def test_a_pair_counts_only_if_both_terms_were_measured() -> None:
    found = mean_conflicts(
        steps_of(
            (["a", "b"], [[1, 0.2], [0.2, 1]]),
            (["a", "b", "c"], [[1, 0.6, -0.5], [0.6, 1, 0.1], [-0.5, 0.1, 1]]),
        )
    )
    assert found is not None
    assert found.mean["a", "b"] == found.mean["b", "a"] == pytest.approx(0.4)
    assert found.mean["c", "a"] == -0.5
    assert found.first["b", "a"] == (10, 0.2)
    assert found.last["a", "b"] == (20, 0.6)
    assert found.mean_of_term == pytest.approx({"a": -0.05, "b": 0.25, "c": -0.2})
    assert list(found.terms) == ["b", "a", "c"]
    assert set(found.strongest) == {"a", "c"}


def test_two_terms_never_measured_together_have_no_cell() -> None:
    found = mean_conflicts(
        steps_of((["a", "b"], [[1, 0.2], [0.2, 1]]), (["b", "c"], [[1, 0.2], [0.2, 1]]))
    )
    assert found is not None
    assert ("a", "c") not in found.mean
    wide, narrow = parse(conflict_map(found)).all("svg", "conflicts")
    assert len(wide.all("rect", "agreement")) == len(narrow.all("rect", "agreement")) == 4


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_term_has_no_conflict_section(count: int, tmp_path: Path) -> None:
    page = page_of(tmp_path, ["simclr.rgb", "order_binary.rgb"][:count])
    links = [node.attributes["href"] for node in page.one("nav").all("a")]
    shown = [node for node in page.walk() if node.attributes.get("id") == "conflicts"]
    assert len(shown) == ("#conflicts" in links) == count - 1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_heading_names_the_pair_that_conflicts(sign: int, tmp_path: Path) -> None:
    begin_run(tmp_path, command="evossl train --data /archive --space tiny --out run")
    matrix = {"terms": ["a.rgb", "b.rgb"], "cosine": [[1, sign * 0.3], [sign * 0.3, 1]]}
    line = {"step": 10, "total": 1.0, "loss": {"a.rgb": 1.0, "b.rgb": 1.0}, "conflict": matrix}
    (tmp_path / "history.jsonl").write_text(json.dumps(line) + "\n")
    page = report_page(tmp_path)
    heading = page.by_id("conflicts").one("h2").text
    assert heading == (
        "Gradient conflicts: no two terms conflict"
        if sign > 0
        else "Gradient conflicts: a.rgb and b.rgb conflict most"
    )


@pytest.mark.parametrize("cosine", ["[[1.0]]", "[[1.0, 0.1], [0.1]]", "[[1, NaN], [NaN, 1]]", "[]"])
def test_a_malformed_matrix_is_named_and_the_rest_is_shown(cosine: str, tmp_path: Path) -> None:
    begin_run(tmp_path, command="evossl train --data /archive --space tiny --out run")
    matrix = f'{{"terms": ["a.rgb", "b.rgb"], "cosine": {cosine}}}'
    line = f'{{"step": 10, "total": 1.0, "loss": {{"a.rgb": 1.0}}, "conflict": {matrix}}}\n'
    (tmp_path / "history.jsonl").write_text(line)
    page = report_page(tmp_path)
    (fault,) = [node.text for node in page.by_id("headline").all("p", "none")]
    assert "history.jsonl" in fault
    assert "--space tiny" in page.by_id("repeat").text


def test_forty_terms_have_a_number_at_every_fifth_column(tmp_path: Path) -> None:
    page = page_of(tmp_path, [f"task{i}.rgb" for i in range(40)])
    _, narrow = page.by_id("conflicts").all("svg", "conflicts")
    heads = [
        node.text for node in narrow.all("text", "tick")
        if node.attributes["text-anchor"] == "middle"
    ]  # fmt: skip
    assert heads == ["5", "10", "15", "20", "25", "30", "35", "40"]
    assert len(narrow.all("rect", "agreement") + narrow.all("rect", "conflict")) == 40 * 39
