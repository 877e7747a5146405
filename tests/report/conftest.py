"""Pages of fabricated runs, written once."""

import pytest

from evossl.report import write_report
from tests.helpers.fabricated_runs import whole_run
from tests.helpers.parsed_pages import Written, parse


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of a whole run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    rows = whole_run(folder)
    html = write_report(folder).read_text(encoding="utf-8")
    return Written(folder, rows, html, parse(html))
