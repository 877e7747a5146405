"""The best fitness so far, computed again from the table."""

from evossl.report.trial_ranking import running_best
from tests.helpers.parsed_pages import WrittenReport


def test_best_so_far_is_the_minimum_up_to_each_trial(written: WrittenReport) -> None:
    values = {row.trial: row.fitness for row in written.rows if row.status == "complete"}
    for trial, best in running_best([row for row in written.rows if not row.is_control]):
        assert best == min(value for number, value in values.items() if number <= trial)
    assert len(running_best(list(written.rows))) == len(values)
