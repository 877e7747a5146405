"""Rows of the trials table with a given fitness: controls, and a complete trial."""

from collections.abc import Sequence

from evossl.search.table import TrialRow
from tests.helpers.tiny_runs import WEIGHTS

INITS = (6.0, 6.2, 6.4, 6.6, 6.8)  # mean 6.4; squared deviations 0.4 in all over 4: sd sqrt(0.1)


def control_rows(inits: Sequence[float | None] = INITS, **others: float | None) -> list[TrialRow]:
    """Return rows of random inits, then of other controls by name; None is a failed one."""
    named = {f"random init {i}": value for i, value in enumerate(inits)} | others
    return [
        TrialRow(
            trial=-1 - i,
            name=name,
            status="control",
            kind="noise" if name in others else "random_init",
            fitness=value,
            reason=None if value else "collapsed",
        )
        for i, (name, value) in enumerate(named.items())
    ]


def trial_row(fitness: float, number: int = 2) -> TrialRow:
    """Return the row of a complete trial."""
    return TrialRow(number, "", "complete", fitness, weights=WEIGHTS)
