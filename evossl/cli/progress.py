"""Progress: a bar with ETA on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

CONSOLE = Console(stderr=True, highlight=False)
LOG_SECONDS = 10.0

Advance = Callable[[int, int], None]


@contextmanager
def bar(what: str) -> Iterator[Advance]:
    """Yield a function to be called with (done, total)."""
    if not CONSOLE.is_terminal:
        yield _lines(what)
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
    with Progress(*columns, console=CONSOLE) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(what: str) -> Advance:
    """A line at most every `LOG_SECONDS`, and one at the end."""
    began = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < LOG_SECONDS:
            return
        last = now
        left = (now - began) / max(done, 1) * (total - done)
        CONSOLE.print(f"{what}: {done}/{total}, {now - began:.0f} s, about {left:.0f} s left")

    return advance
