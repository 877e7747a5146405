"""Row: one line of the table of `make bench`; what it measures, and how that is judged."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

from perf.place import Place

REPEATS = 7


@dataclass(frozen=True)
class Measured:
    """What a row came to.

    Attributes:
        values: one a repeat; the verdict is their median's.
        told: the quantities behind them, in words.
    """

    values: Sequence[float]
    told: str = ""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        key: its name on the command line.
        what: is measured.
        against: what, in the same run.
        target: what the median is to reach.
        measure: does it.
        better: "low" if the median shall be at most the target, "high" if at least.
        unit: of the values; "" for a ratio.
    """

    key: str
    what: str
    against: str
    target: float
    measure: Callable[[Place], Measured]
    better: Literal["low", "high"] = "low"
    unit: str = field(default="")

    def is_met(self, measured: Measured) -> bool:
        """Whether the target is reached."""
        if self.better == "high":
            return measured.median >= self.target
        return measured.median <= self.target


def seconds(work: Callable[[], object], calls: int = 1) -> float:
    """Wall time of a call, of so many in a row."""
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - begin) / calls


@contextmanager
def timed(owner: Any, name: str) -> Iterator[list[float]]:
    """Have a function's calls timed meanwhile; the list of their seconds grows with them."""
    original = getattr(owner, name)
    spent: list[float] = []

    def wrapper(*args: Any, **keys: Any) -> Any:
        begin = time.perf_counter()
        result = original(*args, **keys)
        spent.append(time.perf_counter() - begin)
        return result

    with mock.patch.object(owner, name, wrapper):
        yield spent


def interleaved(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    repeats: int = REPEATS,
    calls: int = 1,
    unit: str = "ms",
) -> Measured:
    """Return ours over theirs: both are called in each repeat, who is first takes turns.

    Args:
        ours: the measured work; called once beforehand, as `theirs` is.
        theirs: what it is held against.
        repeats: of the pair.
        calls: of each in a repeat: short work is timed many times at once.
        unit: "ms", "us" or "s", of the medians told.
    """
    ours(), theirs()

    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            mine = seconds(ours, calls)
            pairs.append((mine, seconds(theirs, calls)))
        else:
            other = seconds(theirs, calls)
            pairs.append((seconds(ours, calls), other))
    return of_pairs(pairs, unit)


def of_pairs(pairs: Sequence[tuple[float, float]], unit: str = "ms") -> Measured:
    """Return the ratios of pairs of seconds, and tell the medians of both."""
    factor = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    mine, other = (statistics.median(side) * factor for side in zip(*pairs, strict=True))
    told = f"{mine:.3g} {unit} and {other:.3g} {unit}"
    return Measured([a / b for a, b in pairs], told)
