"""Whether a fitness beats the random inits of its run, and by how much."""

import statistics
from collections.abc import Sequence

from evossl.errors import RunError

MARGIN = 3.0  # standard deviations of the random inits
MIN_RANDOM_INITS = 3


def sds_below(fitness: float, random_init_scores: Sequence[float]) -> float:
    """Return how many of their sds a fitness lies below the mean of the random inits.

    It is negative above the mean, and infinite (or 0) if the random inits are all equal.

    Raises:
        RunError: fewer than 3 random inits have a score.
    """
    if len(random_init_scores) < MIN_RANDOM_INITS:
        raise RunError(
            f"only {len(random_init_scores)} random inits have a score; a comparison needs "
            f"{MIN_RANDOM_INITS}"
        )
    gain = statistics.fmean(random_init_scores) - fitness
    sd = statistics.stdev(random_init_scores)
    if sd == 0:
        return 0.0 if gain == 0 else float("inf") if gain > 0 else float("-inf")
    return gain / sd


def beats_controls(fitness: float, random_init_scores: Sequence[float]) -> bool:
    """Say whether a fitness lies more than 3 sd below the mean of at least 3 random inits.

    Raises:
        RunError: fewer than 3 random inits have a score.
    """
    return sds_below(fitness, random_init_scores) > MARGIN
