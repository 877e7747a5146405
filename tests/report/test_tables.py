"""The tables hold the numbers and reasons of the files."""

from evossl.report.tables import format_value, trial_table
from evossl.search.table import TrialRow
from tests.helpers.parsed_pages import WrittenReport


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
