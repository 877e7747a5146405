"""The sentences of the page."""

import json
from pathlib import Path

import pytest

from evossl.config import Budget
from evossl.report.sentences import (
    describe_budget,
    format_duration,
    ignores_sentences,
    resume_command,
)
from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import TERMS, begin_run, trial_rows, write_winner
from tests.helpers.parsed_pages import WrittenReport, report_page


@pytest.mark.parametrize(("fitness", "is_warned"), [(0.5, False), (3.3, True)])
def test_a_banner_is_shown_only_for_a_warning(
    fitness: float, is_warned: bool, tmp_path: Path
) -> None:
    info = begin_run(tmp_path)
    table = [row for row in trial_rows(1) if row.is_control]
    weights = dict.fromkeys(TERMS, 0.5)
    table.append(TrialRow(0, "equal weights", "complete", fitness, None, 9.0, {}, weights))
    write_table(tmp_path / "trials.parquet", table)
    write_winner(tmp_path, info, table)
    verdict = json.loads((tmp_path / "winner" / "winner.json").read_text())["verdict"]
    assert (verdict["warning"] is not None) is is_warned
    page = report_page(tmp_path)
    banners = page.all("div", "banner")
    assert len(banners) == is_warned
    if is_warned:
        assert verdict["warning"] in banners[0].text
    assert verdict["line"] in page.by_id("headline").text


def test_command_seed_and_versions_are_shown(written: WrittenReport) -> None:
    words = written.page.by_id("repeat").text
    for part in ("--space tiny --trials 60 --out run --resume", "numpy ", "seed", "git"):
        assert part in words


def test_only_verbs_that_resume_get_a_resume_command() -> None:
    assert resume_command("evossl search --out run") == "evossl search --out run --resume"
    assert resume_command("evossl search --resume --out r") == "evossl search --resume --out r"
    assert resume_command("evossl demo --out run") is None
    assert resume_command("evossl search 'open") is None


def test_colour_decides_between_motion_and_appearance() -> None:
    assert "(motion)" in ignores_sentences(["colour", "crop", "time"])
    assert "(appearance)" in ignores_sentences(["crop", "time"])
    assert ignores_sentences([]).startswith("Nothing is ignored")


def test_durations_have_readable_units() -> None:
    said = [format_duration(seconds) for seconds in (None, 3.21, 59, 185, 7800)]
    assert said == ["–", "3.2 s", "59 s", "3 min 05 s", "2 h 10 min"]  # noqa: RUF001


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"steps": 500}, "32 trials of 500 steps, and 2,000 steps for the winner"),
        ({}, "32 trials of the steps that the pilot finds, and 2,000 steps for the winner"),
        (
            {"trials": 1, "passes": 9000, "final_passes": 36000},
            "1 trial of 9,000 encoder passes, and 36,000 encoder passes for the winner",
        ),
    ],
)
def test_a_budget_is_described_in_its_own_unit(budget: dict[str, int], expected: str) -> None:
    assert describe_budget(Budget(**budget)) == expected
