"""Racing: the best few trials are run again with other seeds, and the lowest mean fitness wins.

The best of many trials is partly the luckiest. Each round runs the trials that are left with one
more seed and drops the worse half (successive halving: Jamieson, Talwalkar, AISTATS 2016).
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evossl.search.table import TrialRow

MIN_RACERS = 2


@dataclass(frozen=True)
class Racer:
    """A trial with its scores.

    Attributes:
        row: of the trial.
        reruns: the fitness with other seeds, in order; None for a re-run without one.
    """

    row: TrialRow
    reruns: tuple[float | None, ...] = ()

    @property
    def mean(self) -> float:
        """The mean fitness over all seeds; infinite if any run has none."""
        scores = [self.row.fitness, *self.reruns]
        known = [score for score in scores if score is not None]
        return statistics.fmean(known) if len(known) == len(scores) else math.inf


def round_sizes(num_reruns: int) -> list[int]:
    """Return the number of trials that each round runs again, such as [8, 4, 2] for 14 re-runs.

    Each round has half as many as the one before, and at least 2. The re-runs that are left over
    are not used.
    """
    best: list[int] = []
    for first in range(MIN_RACERS, num_reruns + 1):
        sizes = []
        size = first
        while size >= MIN_RACERS:
            sizes.append(size)
            size //= 2
        if sum(sizes) > num_reruns:
            break
        best = sizes
    return best


def race(
    rows: Sequence[TrialRow],
    sizes: Sequence[int],
    run_round: Callable[[Sequence[TrialRow], int], Sequence[float | None]],
) -> list[Racer]:
    """Return the trials from best to worst after a race.

    Trials that reached a later round come before those that were dropped, each by mean fitness.

    Args:
        rows: the best trials, best first; at least one.
        sizes: as `round_sizes` returns them.
        run_round: given trials and the number of the round (1, 2, ...), returns the fitness of each
            with that round's seed.
    """
    left = [Racer(row) for row in rows]
    dropped: list[Racer] = []
    for number, size in enumerate(sizes, 1):
        runners, others = left[:size], left[size:]
        if len(runners) < MIN_RACERS:
            break
        dropped = others + dropped
        scores = run_round([racer.row for racer in runners], number)
        rerun = zip(runners, scores, strict=True)
        again = [Racer(racer.row, (*racer.reruns, score)) for racer, score in rerun]
        left = sorted(again, key=lambda racer: (racer.mean, racer.row.trial))
    return left + dropped
