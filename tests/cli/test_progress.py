"""Messages and progress, on a terminal and in a log file; the tests control the clock."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest
from rich.console import Console

from evossl.cli import progress
from evossl.cli.progress import (
    SECONDS_BETWEEN_LOG_LINES,
    consecutive_bars,
    print_message,
    progress_bar,
)
from evossl.cli.search import warn_if_few_videos
from evossl.data.index.index import build_index
from evossl.io.spaces import load_space
from evossl.training.cpu_share import CpuMeter
from evossl.training.history import read_history
from evossl.types import Progress
from tests.helpers.cli_runner import RunCli


class Clock:
    """A clock that stands still until its time is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def log_lines(ticks: list[tuple[float, int]], total: int) -> list[str]:
    """The lines of a log file, for ticks of (seconds, done)."""
    clock, file = Clock(), io.StringIO()
    console = Console(file=file, force_terminal=False, width=40)
    with progress_bar("work", console, clock) as advance:
        for seconds, done in ticks:
            clock.now = seconds
            advance(done, total)
    return file.getvalue().splitlines()


def test_a_log_has_at_most_one_line_every_ten_seconds() -> None:
    lines = log_lines([(float(second), second) for second in range(1, 100)], total=1000)
    assert len(lines) == 99 // SECONDS_BETWEEN_LOG_LINES


def test_a_log_reports_the_end_once() -> None:
    lines = log_lines([(1, 7), (2, 8), (3, 8), (14, 8), (40, 8)], total=8)
    assert lines == ["work: 8/8, 2 s"]


def test_a_log_extrapolates_the_remaining_seconds() -> None:
    (line,) = log_lines([(20, 5)], total=20)  # 4 s each, 15 left
    assert line == "work: 5/20, 20 s, about 60 s left"


def test_no_progress_yet_divides_by_no_zero() -> None:
    assert log_lines([(11, 0)], total=5)[0].startswith("work: 0/5")


def test_a_new_bar_closes_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    open_bars: list[str] = []

    @contextmanager
    def recorded_bar(title: str) -> Iterator[Progress]:
        open_bars.append(title)
        yield lambda done, total: None
        open_bars.remove(title)

    monkeypatch.setattr(progress, "progress_bar", recorded_bar)
    with consecutive_bars() as next_bar:
        for title in ("training", "scoring"):
            next_bar(title)
            assert open_bars == [title]
    assert not open_bars


def test_a_terminal_shows_a_bar_with_count_and_time_left() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with progress_bar("work", console) as advance:
        advance(3, 8)
        advance(8, 8)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "work" in shown
    assert "8/8" in shown
    assert "left" in shown


def test_a_message_is_not_wrapped_and_keeps_its_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = "/archive/" + "very-long-folder/" * 12 + "clip [bold] [a].mp4"
    print_message(f"set aside: {path}: truncated")
    assert capsys.readouterr().err == f"set aside: {path}: truncated\n"


def test_a_report_shows_its_progress(run_cli: RunCli, trained: Path) -> None:
    output = run_cli("report", trained)
    assert output.out == f"{trained / 'report.html'}\n"
    assert re.search(r"^writing the report: (\d+)/\1, ", output.err, re.MULTILINE)


def test_a_search_warns_of_too_few_held_out_clips_only(
    videos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, index = load_space("tiny"), build_index(str(videos), None)
    held_out = len(index.videos) // 3
    warn_if_few_videos(index, space)
    warning = " ".join(capsys.readouterr().err.split())
    assert f"{held_out} clips are held out" in warning
    assert "about 400" in warning
    assert "no clips are kept aside for the verdict, which needs 240 videos" in warning
    monkeypatch.setattr("evossl.fitness.score.RECOMMENDED_CLIPS", held_out)
    warn_if_few_videos(index, space)
    assert "are held out" not in capsys.readouterr().err


def test_a_starved_training_says_so_once(
    run_cli: RunCli, videos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = chain([0.9, 0.123, 0.2], repeat(None))
    monkeypatch.setattr(CpuMeter, "share", lambda _: next(shares))
    beside = trained.parent
    argv = ["train", "--data", videos, "--space", beside / "space.yaml", "--steps", "4"]
    output = run_cli(*argv, "--cache", beside / "cache", "--out", "run")
    assert output.code == 0, output.err
    assert output.err.count("of the CPU time that it asks for") == 1
    assert "the training gets 12 % of the CPU time that it asks for" in output.err
    logged = [line["cpu_share"] for line in read_history(Path("run/history.jsonl"))]
    assert logged[:3] == [0.9, 0.123, 0.2]
