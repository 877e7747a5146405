"""What a person sees while a verb works: messages, progress bars and tables.

Messages and progress go to stderr, results to stdout. On a terminal, progress is a bar with the
time left; in a log file it is a line every few seconds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import rich.progress
from rich.console import Console
from rich.table import Table

from evossl.types import Progress

if TYPE_CHECKING:
    from evossl.experiment.verdict import Verdict

CONSOLE = Console(stderr=True, highlight=False)
SECONDS_BETWEEN_LOG_LINES = 10.0
TABLE_WIDTH_IN_FILES = 120
VERDICT_STYLES = {"better": "bold green", "not_better": "bold red", "cannot_tell": "bold yellow"}


def print_message(message: str, style: str | None = None) -> None:
    """Print a message on stderr. It is never wrapped, so that paths in it can be copied."""
    CONSOLE.print(message, style=style, soft_wrap=True, markup=False)


def print_verdict(verdict: "Verdict") -> None:
    """Print a verdict, in the colour of its outcome."""
    print_message(verdict.warning or verdict.line, VERDICT_STYLES[verdict.outcome])


def print_table(table: Table) -> None:
    """Print a table on stdout, as wide as the terminal; in a file, as wide as its numbers need."""
    terminal = Console(highlight=False)
    in_file = Console(highlight=False, width=TABLE_WIDTH_IN_FILES)
    (terminal if terminal.is_terminal else in_file).print(table)


@contextmanager
def progress_bar(
    title: str, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Show progress until the context ends; yields the callback that moves it."""
    console = console or CONSOLE
    if not console.is_terminal:
        yield _log_lines(title, console, clock)
        return
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("left"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bars:
        bar = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def consecutive_bars() -> Iterator[Callable[[str], Progress]]:
    """Yield a function that closes the current bar and opens one with the given title."""
    with ExitStack() as stack:

        def next_bar(title: str) -> Progress:
            stack.close()
            return stack.enter_context(progress_bar(title))

        yield next_bar


def _log_lines(title: str, console: Console, clock: Callable[[], float]) -> Progress:
    """Print a line at most every `SECONDS_BETWEEN_LOG_LINES`, and exactly one at the end."""
    began = last = clock()
    ended = False

    def progress(done: int, total: int) -> None:
        nonlocal last, ended
        now = clock()
        if ended or (done < total and now - last < SECONDS_BETWEEN_LOG_LINES):
            return
        last, ended = now, done >= total
        left = (now - began) / max(done, 1) * (total - done)
        line = f"{title}: {done}/{total}, {now - began:.0f} s"
        console.print(
            line if ended else f"{line}, about {left:.0f} s left", soft_wrap=True, markup=False
        )

    return progress
