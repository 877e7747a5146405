"""The tables: every trial with every indicator, and what failed."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evossl.evaluation.audit import DIRECTIONS
from evossl.search.table import TrialRow

BETTER = {
    "lower": "\N{DOWNWARDS ARROW}",
    "higher": "\N{UPWARDS ARROW}",
    "near 1": "\N{RIGHTWARDS ARROW} 1",
    "either": "\N{UP DOWN ARROW}",
}
DASH = "\N{EN DASH}"
MAX_SET_ASIDE = 500  # rows; the manifest has them all


@dataclass(frozen=True)
class Column:
    """A column's name, and an arrow to where its inventors say it is better."""

    name: str
    better: str = ""


@dataclass(frozen=True)
class TrialTable:
    """Columns, and (row's class, cells) of each row."""

    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[str]]]


def trial_table(rows: Sequence[TrialRow], best: TrialRow | None) -> TrialTable:
    """Return trials by fitness (those without one last), controls among them."""
    names = sorted({name for row in rows for name in row.indicators})
    columns = [
        Column("trial"),
        Column("name"),
        Column("status"),
        Column("fitness, nats", BETTER["lower"]),
        Column("time, s"),
        *(Column(name, BETTER.get(DIRECTIONS.get(name, ""), "")) for name in names),
    ]

    def cells(row: TrialRow) -> tuple[str, Sequence[str]]:
        is_best = best is not None and row.trial == best.trial
        fixed = [str(row.trial), row.name or DASH, row.status, shown(row.fitness)]
        fixed.append(DASH if row.seconds is None else f"{row.seconds:.1f}")
        found = [shown(row.indicators.get(name)) for name in names]
        return ("best" if is_best else row.status), [*fixed, *found]

    order = sorted(rows, key=lambda row: (_standing(row.fitness), row.trial))
    return TrialTable(columns, [cells(row) for row in order])


def _standing(fitness: float | None) -> float:
    return math.inf if fitness is None or math.isnan(fitness) else fitness


def shown(value: float | None) -> str:
    """Return three decimals, or as many digits as a small or large number needs."""
    if value is None:
        return DASH
    if value != 0 and (abs(value) < 5e-4 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.3f}"


@dataclass(frozen=True)
class Failures:
    """Trials without a fitness, and files set aside, each with its reason.

    Attributes:
        trials: (trial, status, reason). files: (path, reason), cut to `MAX_SET_ASIDE`.
        num_files: all of them. kinds: (reason's first words, count), the most common first.
    """

    trials: Sequence[tuple[str, str, str]]
    files: Sequence[tuple[str, str]]
    num_files: int
    kinds: Sequence[tuple[str, int]]


def failures(rows: Iterable[TrialRow], set_aside: Sequence[tuple[str, str]]) -> Failures:
    """Return what did not come through, controls too."""
    trials = [
        (f"{row.trial} ({row.name})" if row.name else str(row.trial), row.status, row.reason)
        for row in rows
        if row.reason is not None
    ]
    kinds = Counter((reason or "no reason given").split(":")[0] for _, reason in set_aside)
    files = [(path, reason or "no reason given") for path, reason in set_aside[:MAX_SET_ASIDE]]
    return Failures(trials, files, len(set_aside), kinds.most_common())
