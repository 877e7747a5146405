"""Early stopping: which trials continue at a rung.

Asynchronous successive halving: Li et al., A System for Massively Parallel Hyperparameter Tuning
(ASHA), MLSys 2020.
"""

from collections.abc import Sequence

from evossl.config import Stopping


def is_promoted(fitness: float, others: Sequence[float], rule: Stopping) -> bool:
    """Say whether a trial is among the best fraction of those that have reached its rung.

    Args:
        fitness: of the trial at the rung; lower is better, infinite if it has none.
        others: of the trials that reached the rung before it.
        rule: early stopping of the space.
    """
    num_trials = len(others) + 1
    if num_trials < rule.min_trials:
        return True
    return sum(other < fitness for other in others) < rule.keep_fraction * num_trials
