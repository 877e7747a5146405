"""Tables of the page: every trial with every indicator, and what has no fitness."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evossl.evaluation.audit import DIRECTIONS
from evossl.genes import GeneValue
from evossl.search.table import TrialRow

ARROWS_OF_DIRECTION = {
    "lower": "\N{DOWNWARDS ARROW}",
    "higher": "\N{UPWARDS ARROW}",
    "near 1": "\N{RIGHTWARDS ARROW} 1",
    "either": "\N{UP DOWN ARROW}",
}
DASH = "\N{EN DASH}"
MAX_QUARANTINED_ROWS = 500  # the manifest lists all of them
NO_REASON = "no reason given"


@dataclass(frozen=True)
class Column:
    """A column's name, and an arrow in the direction that its authors consider better."""

    name: str
    better: str = ""


@dataclass(frozen=True)
class TrialTable:
    """The columns, and (CSS class, cells) of each row."""

    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[str]]]


def trial_table(rows: Sequence[TrialRow], best: TrialRow | None) -> TrialTable:
    """Return trials and controls sorted by fitness; those without a fitness come last.

    The column `parent` is shown only if a trial has one.
    """
    names = sorted({name for row in rows for name in row.indicators})
    with_parents = any(row.parent is not None for row in rows)
    genes = sorted({name for row in rows for name in row.genes})
    columns = [
        Column("trial"),
        *([Column("parent")] if with_parents else []),
        Column("name"),
        Column("status"),
        Column("fitness (nats)", ARROWS_OF_DIRECTION["lower"]),
        Column("time (s)"),
        *(Column(name) for name in genes),
        *(Column(name, ARROWS_OF_DIRECTION.get(DIRECTIONS.get(name, ""), "")) for name in names),
    ]

    def cells(row: TrialRow) -> tuple[str, Sequence[str]]:
        is_best = best is not None and row.trial == best.trial
        parent = [DASH if row.parent is None else str(row.parent)] if with_parents else []
        fixed = [str(row.trial), *parent, row.name or DASH, row.status, format_value(row.fitness)]
        fixed.append(DASH if row.seconds is None else f"{row.seconds:.1f}")
        found = [format_gene(row.genes.get(name)) for name in genes]
        found += [format_value(row.indicators.get(name)) for name in names]
        return ("best" if is_best else row.status), [*fixed, *found]

    order = sorted(rows, key=lambda row: (_sort_key(row.fitness), row.trial))
    return TrialTable(columns, [cells(row) for row in order])


def _sort_key(fitness: float | None) -> float:
    return math.inf if fitness is None or math.isnan(fitness) else fitness


def format_value(value: float | None) -> str:
    """Return a number with three decimals, or as many digits as a small or large one needs."""
    if value is None:
        return DASH
    if value != 0 and (abs(value) < 5e-4 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.3f}"


def format_gene(value: GeneValue | None) -> str:
    """Return the value of a gene: a float with three digits, anything else in full."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Failures:
    """Trials without a fitness or stopped early, and quarantined files, each with its reason.

    Attributes:
        trials: (trial, status, reason).
        files: (path, reason), at most `MAX_QUARANTINED_ROWS` of them.
        num_files: number of all quarantined files.
        kinds: (first words of the reason, count), the most frequent first.
    """

    trials: Sequence[tuple[str, str, str]]
    files: Sequence[tuple[str, str]]
    num_files: int
    kinds: Sequence[tuple[str, int]]


def failures(rows: Iterable[TrialRow], quarantined: Sequence[tuple[str, str]]) -> Failures:
    """Return the trials and controls that have a reason, and the quarantined files."""
    trials = [
        (f"{row.trial} ({row.name})" if row.name else str(row.trial), row.status, row.reason)
        for row in rows
        if row.reason is not None
    ]
    kinds = Counter((reason or NO_REASON).split(":")[0] for _, reason in quarantined)
    files = [(path, reason or NO_REASON) for path, reason in quarantined[:MAX_QUARANTINED_ROWS]]
    return Failures(trials, files, len(quarantined), kinds.most_common())
