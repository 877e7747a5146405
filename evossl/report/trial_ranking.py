"""Rankings and means over the rows of the trials table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evossl.search.table import TrialRow


@dataclass(frozen=True)
class RandomInits:
    """Mean and standard deviation of the random inits' fitness (0 if there is only one)."""

    mean: float
    sd: float
    count: int


def is_scored(row: TrialRow) -> bool:
    """Return whether a row has a finite fitness."""
    return row.fitness is not None and math.isfinite(row.fitness)


def fitness_of(row: TrialRow) -> float:
    """Return the fitness of a row that has one."""
    assert row.fitness is not None
    return row.fitness


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the complete trials, best first."""
    scored = [row for row in rows if row.status == "complete" and is_scored(row)]
    return sorted(scored, key=lambda row: (fitness_of(row), row.trial))


def running_best(trials: Sequence[TrialRow]) -> list[tuple[int, float]]:
    """Return (trial, lowest fitness up to and including it) for each complete trial."""
    best: list[tuple[int, float]] = []
    for row in sorted(trials, key=lambda row: row.trial):
        if row.status == "complete" and is_scored(row):
            lowest = min(fitness_of(row), best[-1][1]) if best else fitness_of(row)
            best.append((row.trial, lowest))
    return best


def random_inits(controls: Sequence[TrialRow]) -> RandomInits | None:
    """Return mean and standard deviation of the random inits; None if none has a fitness."""
    found = [fitness_of(row) for row in controls if row.kind == "random_init" and is_scored(row)]
    if not found:
        return None
    sd = statistics.stdev(found) if len(found) > 1 else 0.0
    return RandomInits(statistics.fmean(found), sd, len(found))


def other_controls(controls: Sequence[TrialRow]) -> list[tuple[str, float]]:
    """Return (name, fitness) of the controls other than random inits."""
    return [
        (row.name, fitness_of(row))
        for row in controls
        if row.kind != "random_init" and is_scored(row)
    ]
