"""The matrix of conflicts: means of what the history says, those in the others' way last."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from evossl.report import write_report
from evossl.report.conflicts import STRONGEST, conflict_map, conflicts
from evossl.report.records import Conflict, Step
from tests.helpers.fabricated_runs import begin, write_training
from tests.helpers.parsed_pages import Node, Page, Written, parse


def steps_of(*matrices: tuple[list[str], list[list[float]]]) -> list[Step]:
    return [
        Step(step=10 * i, total=1.0, loss={}, conflict=Conflict(terms=terms, cosine=cosine))
        for i, (terms, cosine) in enumerate(matrices, 1)
    ]


def page_of(folder: Path, terms: list[str]) -> Page:
    begin(folder, command="evossl train --data /archive --space tiny --out run")
    write_training(folder, terms, 100)
    return parse(write_report(folder).read_text(encoding="utf-8"))


def told(cell: Node) -> tuple[str, str, float]:
    """The two terms and the cosine of a cell's words."""
    found = re.match(r"(.+) and (.+?): ([+-]\d\.\d\d)", cell.one("title").text)
    assert found
    return found[1], found[2], float(found[3])


def test_each_cell_is_the_mean_over_the_steps_that_measured_it(written: Written) -> None:
    lines = (written.folder / "winner" / "history.jsonl").read_text().splitlines()
    matrices = [found for line in lines if (found := json.loads(line)["conflict"])]
    assert len(matrices) == 5
    terms = matrices[0]["terms"]
    mean_TT = np.mean([matrix["cosine"] for matrix in matrices], axis=0)
    chart = written.page.by_id("conflicts").drawing("conflicts")
    cells = chart.all("rect", "together") + chart.all("rect", "apart")
    assert len(cells) == len(terms) * (len(terms) - 1)
    assert len(chart.all("rect", "self")) == len(terms)
    strongest = np.abs(mean_TT[~np.eye(len(terms), dtype=bool)]).max()
    for cell in cells:
        one, other, cosine = told(cell)
        mean = mean_TT[terms.index(one), terms.index(other)]
        assert cosine == pytest.approx(mean, abs=0.0051)
        assert cell.attributes["class"] == ("together" if mean > 0 else "apart")
        opacity = float(cell.attributes["fill-opacity"])
        assert opacity == pytest.approx(STRONGEST * abs(mean) / strongest, abs=0.006)


def test_rows_stand_where_their_columns_do_those_that_pull_with_the_rest_first(
    written: Written,
) -> None:
    chart = written.page.by_id("conflicts").drawing("conflicts")
    cells = chart.all("rect", "together") + chart.all("rect", "apart")
    x = {told(cell)[1]: float(cell.attributes["x"]) for cell in cells}
    y = {told(cell)[0]: float(cell.attributes["y"]) for cell in cells}
    assert sorted(x, key=lambda term: x[term]) == sorted(y, key=lambda term: y[term])
    means = [float(node.text) for node in chart.all("text") if node.text[0] in "+-"]
    at_side = [
        float(node.text) for node in chart.all("text", "value")
        if node.attributes["text-anchor"] == "end"
    ]  # fmt: skip
    assert at_side == sorted(at_side, reverse=True)
    assert len(at_side) == len(y)
    assert len(means) == len(at_side) ** 2  # a number in each cell of the wide drawing, and those


def test_a_pair_counts_only_where_both_were_measured() -> None:
    found = conflicts(
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
    assert found.others == pytest.approx({"a": -0.05, "b": 0.25, "c": -0.2})
    assert list(found.terms) == ["b", "a", "c"]
    assert set(found.apart) == {"a", "c"}


def test_two_terms_that_never_met_have_no_cell() -> None:
    found = conflicts(
        steps_of((["a", "b"], [[1, 0.2], [0.2, 1]]), (["b", "c"], [[1, 0.2], [0.2, 1]]))
    )
    assert found is not None
    assert ("a", "c") not in found.mean
    wide, narrow = parse(conflict_map(found)).all("svg", "conflicts")
    assert len(wide.all("rect", "together")) == len(narrow.all("rect", "together")) == 4


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_said_of_conflict_where_there_is_one_term_only(
    count: int, tmp_path: Path
) -> None:
    page = page_of(tmp_path, ["simclr.rgb", "order_binary.rgb"][:count])
    links = [node.attributes["href"] for node in page.one("nav").all("a")]
    shown = [node for node in page.walk() if node.attributes.get("id") == "conflicts"]
    assert len(shown) == ("#conflicts" in links) == count - 1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_heading_names_the_pair_that_pulls_apart_if_one_does(sign: int, tmp_path: Path) -> None:
    begin(tmp_path, command="evossl train --data /archive --space tiny --out run")
    matrix = {"terms": ["a.rgb", "b.rgb"], "cosine": [[1, sign * 0.3], [sign * 0.3, 1]]}
    line = {"step": 10, "total": 1.0, "loss": {"a.rgb": 1.0, "b.rgb": 1.0}, "conflict": matrix}
    (tmp_path / "history.jsonl").write_text(json.dumps(line) + "\n")
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    heading = page.by_id("conflicts").one("h2").text
    assert heading == (
        "Conflicts: no two terms pull apart"
        if sign > 0
        else "Conflicts: a.rgb and b.rgb pull furthest apart"
    )


@pytest.mark.parametrize("cosine", ["[[1.0]]", "[[1.0, 0.1], [0.1]]", "[[1, NaN], [NaN, 1]]", "[]"])
def test_a_matrix_that_is_not_one_is_named_and_the_rest_is_shown(
    cosine: str, tmp_path: Path
) -> None:
    begin(tmp_path, command="evossl train --data /archive --space tiny --out run")
    matrix = f'{{"terms": ["a.rgb", "b.rgb"], "cosine": {cosine}}}'
    line = f'{{"step": 10, "total": 1.0, "loss": {{"a.rgb": 1.0}}, "conflict": {matrix}}}\n'
    (tmp_path / "history.jsonl").write_text(line)
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    (told_,) = [node.text for node in page.by_id("headline").all("p", "none")]
    assert "history.jsonl" in told_
    assert "--space tiny" in page.by_id("again").text


def test_forty_terms_have_their_names_and_a_number_at_every_fifth_column(tmp_path: Path) -> None:
    page = page_of(tmp_path, [f"task{i}.rgb" for i in range(40)])
    _, narrow = page.by_id("conflicts").all("svg", "conflicts")
    heads = [
        node.text for node in narrow.all("text", "tick")
        if node.attributes["text-anchor"] == "middle"
    ]  # fmt: skip
    assert heads == ["5", "10", "15", "20", "25", "30", "35", "40"]
    assert len(narrow.all("rect", "together") + narrow.all("rect", "apart")) == 40 * 39
