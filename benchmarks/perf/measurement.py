"""Rows of the table of `make bench`: what each measures, and how a ratio is measured."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

from perf.bench_folder import BenchFolder

NUM_REPEATS = 7
Clock = Callable[[], float]


@dataclass(frozen=True)
class Measurement:
    """The result of a row.

    Attributes:
        values: one per repeat; their median is compared with the target.
        details: the quantities behind the values, in words.
    """

    values: Sequence[float]
    details: str = ""

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        key: its name on the command line.
        what: what is measured.
        reference: what it is compared with, in the same run.
        target: the value that the median should reach.
        measure: the function that measures it.
        better: "low" if the median should be at most the target, "high" if at least.
        unit: of the values; "" for a ratio.
    """

    key: str
    what: str
    reference: str
    target: float
    measure: Callable[[BenchFolder], Measurement]
    better: Literal["low", "high"] = "low"
    unit: str = field(default="")

    def is_met(self, measurement: Measurement) -> bool:
        """Return whether the median reaches the target."""
        if self.better == "high":
            return measurement.median >= self.target
        return measurement.median <= self.target


def seconds_per_call(
    work: Callable[[], object], calls: int = 1, clock: Clock = time.perf_counter
) -> float:
    """Return the time of one call, the mean of `calls` in a row."""
    begin = clock()
    for _ in range(calls):
        work()
    return (clock() - begin) / calls


@contextmanager
def record_durations(owner: Any, name: str) -> Iterator[list[float]]:
    """Time every call of a function inside the block; the seconds are appended to the list."""
    original = getattr(owner, name)
    durations: list[float] = []

    def wrapper(*args: Any, **keys: Any) -> Any:
        begin = time.perf_counter()
        result = original(*args, **keys)
        durations.append(time.perf_counter() - begin)
        return result

    with mock.patch.object(owner, name, wrapper):
        yield durations


def measure_ratio(
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    repeats: int = NUM_REPEATS,
    calls: int = 1,
    unit: str = "ms",
    clock: Clock = time.perf_counter,
) -> Measurement:
    """Return the time of `ours` divided by that of `reference`.

    Both are called once to warm up, and then in turn, in alternating order, so that drift of the
    machine affects both.

    Args:
        ours: the work that is measured.
        reference: what it is compared with.
        repeats: number of pairs.
        calls: calls of each per repeat; short work is timed many times at once.
        unit: of the medians in the details: "ms", "us" or "s".
        clock: `time.thread_time` for work of a single thread, whose time then hardly depends on
            what else the machine does.
    """
    ours(), reference()

    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            mine = seconds_per_call(ours, calls, clock)
            pairs.append((mine, seconds_per_call(reference, calls, clock)))
        else:
            other = seconds_per_call(reference, calls, clock)
            pairs.append((seconds_per_call(ours, calls, clock), other))
    return ratios_of(pairs, unit)


def ratios_of(pairs: Sequence[tuple[float, float]], unit: str = "ms") -> Measurement:
    """Return the ratio of each pair of seconds; the details are the medians of both sides."""
    factor = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    mine, other = (statistics.median(side) * factor for side in zip(*pairs, strict=True))
    details = f"{mine:.3g} {unit} and {other:.3g} {unit}"
    return Measurement([a / b for a, b in pairs], details)
