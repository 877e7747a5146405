"""Fixtures: a report that is written once per session."""

import pytest

from evossl.report import write_report
from tests.helpers.fabricated_runs import finished_run
from tests.helpers.parsed_pages import WrittenReport, parse


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    """The report of a finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    rows = finished_run(folder)
    html = write_report(folder).read_text(encoding="utf-8")
    return WrittenReport(folder, rows, html, parse(html))
