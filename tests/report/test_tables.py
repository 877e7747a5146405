"""The tables hold the numbers and reasons of the files."""

from dataclasses import replace
from pathlib import Path

from evossl.report.tables import format_value, trial_table
from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import begin_run, trial_rows, write_winner
from tests.helpers.parsed_pages import WrittenReport, report_page


def test_trial_table_holds_every_number_sorted_by_fitness(written: WrittenReport) -> None:
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
            assert cell == format_value(row.indicators.get(head))


def test_quarantined_files_are_counted_and_listed(written: WrittenReport) -> None:
    words = written.page.by_id("failures").text
    for part in ("2 files quarantined", "/archive/holiday.mp4", "truncated: no frame can be read"):
        assert part in words
    assert "48readable videos, 2 quarantined" in written.page.by_id("headline").text.replace(
        "\n", ""
    )


def test_parents_are_a_column_only_if_a_trial_has_one() -> None:
    rows = [TrialRow(0, "", "complete", 1.0), TrialRow(1, "", "complete", 2.0, parent=0)]
    table = trial_table(rows, None)
    assert [column.name for column in table.columns][:3] == ["trial", "parent", "name"]
    assert [list(cells[:2]) for _, cells in table.rows] == [["0", "\N{EN DASH}"], ["1", "0"]]
    alone = trial_table(rows[:1], None)
    assert "parent" not in [column.name for column in alone.columns]
    assert len(alone.rows[0][1]) == len(alone.columns)


def test_genes_have_columns_and_the_winner_lists_them(tmp_path: Path) -> None:
    values = {"optimiser.lr": 0.0031, "optimiser.name": "sgd", "training.accumulate": 2}
    info = begin_run(tmp_path)
    rows = [row if row.is_control else replace(row, genes=values) for row in trial_rows(12)]
    write_table(tmp_path / "trials.parquet", rows)
    for stage in ("searching", "finished"):
        if stage == "finished":
            write_winner(tmp_path, info, rows)
        page = report_page(tmp_path)
        heads = [head.text for head in page.by_id("indicators").all("th")]
        assert heads[5:8] == list(values)
        shown = [[cell.text for cell in row.all("td")][5:8] for row in page.all("tr")]
        assert shown.count(["0.0031", "sgd", "2"]) == 12
        for key, value in {"optimiser.lr": "0.0031", "optimiser.name": "sgd"}.items():
            assert key in page.by_id("weights").text
            assert value in page.by_id("weights").text


def test_a_page_without_genes_does_not_mention_them(written: WrittenReport) -> None:
    assert "gene" not in written.page.by_id("weights").text
