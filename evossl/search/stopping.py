"""Which trials go on at a rung: the best share of those that have come to it.

Successive halving without waiting: Li et al., A System for Massively Parallel Hyperparameter Tuning
(ASHA), MLSys 2020.
"""

from collections.abc import Sequence

from evossl.config import Stopping


def is_promoted(fitness: float, others: Sequence[float], rule: Stopping) -> bool:
    """Return whether a trial is among the best share of all that have come to its rung.

    Args:
        fitness: its own there; lower is better, infinite where it has none.
        others: of the trials that came to the rung before it.
        rule: the space's.
    """
    come = len(others) + 1
    if come < rule.min_trials:
        return True
    return sum(other < fitness for other in others) < rule.keep_fraction * come
