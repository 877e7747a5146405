"""Progress on a terminal and in a log, with a clock that the test turns."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from evossl.cli import progress
from evossl.cli.progress import LOG_SECONDS, Advance, bar, phases, say
from evossl.cli.search import say_if_few
from evossl.data.index.index import build_index
from evossl.io.spaces import load_space
from tests.helpers.cli_runner import Run


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def log(ticks: list[tuple[float, int]], total: int) -> list[str]:
    """The lines of a log in which `done` was reported at these seconds."""
    clock, file = Clock(), io.StringIO()
    with bar("work", Console(file=file, force_terminal=False, width=40), clock) as advance:
        for seconds, done in ticks:
            clock.now = seconds
            advance(done, total)
    return file.getvalue().splitlines()


def test_a_log_has_a_line_at_most_every_ten_seconds() -> None:
    lines = log([(float(second), second) for second in range(1, 100)], total=1000)
    assert len(lines) == 99 // LOG_SECONDS


def test_a_log_says_the_end_once_however_often_it_is_reported() -> None:
    lines = log([(1, 7), (2, 8), (3, 8), (14, 8), (40, 8)], total=8)
    assert lines == ["work: 8/8, 2 s"]


def test_a_log_extrapolates_the_seconds_left() -> None:
    (line,) = log([(20, 5)], total=20)  # 4 s each, 15 to go
    assert line == "work: 5/20, 20 s, about 60 s left"


def test_nothing_done_yet_is_no_division_by_zero() -> None:
    assert log([(11, 0)], total=5)[0].startswith("work: 0/5")


def test_a_phase_ends_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    open_bars: list[str] = []

    @contextmanager
    def bar_that_is_seen(what: str) -> Iterator[Advance]:
        open_bars.append(what)
        yield lambda done, total: None
        open_bars.remove(what)

    monkeypatch.setattr(progress, "bar", bar_that_is_seen)
    with phases() as phase:
        for what in ("training", "scoring"):
            phase(what)
            assert open_bars == [what]
    assert not open_bars


def test_a_terminal_gets_a_bar_with_the_count_and_the_time_left() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with bar("work", console) as advance:
        advance(3, 8)
        advance(8, 8)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "work" in shown
    assert "8/8" in shown
    assert "left" in shown


def test_a_message_stays_one_line_and_brackets_in_paths_stay(capsys) -> None:  # type: ignore[no-untyped-def]
    path = "/archive/" + "very-long-folder/" * 12 + "clip [bold] [a].mp4"
    say(f"set aside: {path}: truncated")
    assert capsys.readouterr().err == f"set aside: {path}: truncated\n"


def test_a_report_says_how_far_it_is(run_cli: Run, trained: Path) -> None:
    answer = run_cli("report", trained)
    assert answer.out == f"{trained / 'report.html'}\n"
    assert re.search(r"^writing the report: (\d+)/\1, ", answer.err, re.MULTILINE)


def test_too_few_held_out_clips_to_rank_by_are_said_and_enough_are_not(
    videos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, index = load_space("tiny"), build_index(str(videos), None)
    held_out = len(index.videos) // 3
    say_if_few(index, space)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{held_out} clips are held out" in said
    assert "from about 400" in said
    monkeypatch.setattr("evossl.fitness.score.ENOUGH_CLIPS", held_out)
    say_if_few(index, space)
    assert capsys.readouterr().err == ""
