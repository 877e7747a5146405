"""Progress: a bar with ETA on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

CONSOLE = Console(stderr=True, highlight=False)
LOG_SECONDS = 10.0
FILE_WIDTH = 120

Advance = Callable[[int, int], None]


def say(message: str, style: str | None = None) -> None:
    """Print a message on stderr; a line stays one line, so that its paths can be copied."""
    CONSOLE.print(message, style=style, soft_wrap=True, markup=False)


def print_table(table: Table) -> None:
    """Print a result on stdout: as wide as the terminal, in a file as wide as its numbers need."""
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=FILE_WIDTH)
    console.print(table)


@contextmanager
def bar(
    what: str, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """Yield a function to be called with (done, total)."""
    console = console or CONSOLE
    if not console.is_terminal:
        yield _lines(what, console, clock)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def phases() -> Iterator[Callable[[str], Advance]]:
    """Yield a function that ends the bar before and opens one of the given name."""
    with ExitStack() as stack:

        def phase(what: str) -> Advance:
            stack.close()
            return stack.enter_context(bar(what))

        yield phase


def _lines(what: str, console: Console, clock: Callable[[], float]) -> Advance:
    """A line at most every `LOG_SECONDS`, and one at the end, once."""
    began = last = clock()
    ended = False

    def advance(done: int, total: int) -> None:
        nonlocal last, ended
        now = clock()
        if ended or (done < total and now - last < LOG_SECONDS):
            return
        last, ended = now, done >= total
        left = (now - began) / max(done, 1) * (total - done)
        line = f"{what}: {done}/{total}, {now - began:.0f} s"
        console.print(
            line if ended else f"{line}, about {left:.0f} s left", soft_wrap=True, markup=False
        )

    return advance
