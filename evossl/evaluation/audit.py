"""Audit: how far does each label-free score of a run rank its trials as labels do?

Shapes: N trial.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from evossl.search.table import TrialRow

Direction = Literal["lower", "higher", "near 1", "either"]
DIRECTIONS: Mapping[str, Direction] = {
    "fitness": "lower",
    "kl_hard": "lower",
    "kl_soft": "lower",
    "kl_l2": "lower",
    "ami_views": "higher",
    "ami_shuffled": "either",
    "mrr": "higher",
    "rankme": "higher",
    "lidar": "higher",
    "alpha_req": "near 1",
    "alignment": "lower",
    "uniformity": "lower",
}
"""What is called better (docs/fitness.md); "either": that depends on what the encoder is for.

An indicator that is not here has no row in an audit: `effective_clusters`, best at Zipf's own
number (`kl_hard` measures that), and `seconds`, a cost."""


@dataclass(frozen=True)
class Agreement:
    """One score's rank correlation with accuracy.

    Attributes:
        score: "fitness" or an indicator's name.
        better: the direction that the score was read in.
        spearman: oriented: +1 ranks the trials as accuracy does, -1 backwards; of "either", +1 says
            that higher goes with accuracy, -1 that lower does. None where one side is constant or
            fewer than 3 trials have both.
        interval: 95 %, Fisher's z with Bonett and Wright's variance; None under 4 trials.
        num_trials: trials that have both.
    """

    score: str
    better: Direction
    spearman: float | None
    interval: tuple[float, float] | None
    num_trials: int


def audit(rows: Sequence[TrialRow], accuracy: Mapping[int, float]) -> list[Agreement]:
    """Return each score's agreement with accuracy, the best first, those of "either" last.

    Args:
        rows: trials.
        accuracy: by trial number, on labelled clips; trials without one are left out.
    """
    judged = [row for row in rows if row.trial in accuracy]
    accuracies = [accuracy[row.trial] for row in judged]
    scores = {"fitness": [row.fitness for row in judged]} | {
        name: [row.indicators.get(name) for row in judged]
        for name in DIRECTIONS
        if any(name in row.indicators for row in judged)
    }
    table = [
        _agreement(name, list(zip(values, accuracies, strict=True)))
        for name, values in scores.items()
    ]
    return sorted(table, key=_place)


def _place(one: Agreement) -> tuple[bool, float]:
    """What may be read either way ranks nothing without labels, however far it agrees."""
    return one.better == "either", math.inf if one.spearman is None else -one.spearman


def _agreement(name: str, pairs: Sequence[tuple[float | None, float]]) -> Agreement:
    better = DIRECTIONS[name]
    known = [(s, a) for s, a in pairs if s is not None and math.isfinite(s) and math.isfinite(a)]
    score_N, accuracy_N = np.array(known, dtype=np.float64).reshape(-1, 2).T
    if len(known) < 3 or np.ptp(score_N) == 0 or np.ptp(accuracy_N) == 0:
        return Agreement(name, better, None, None, len(known))
    ways = {"lower": -score_N, "higher": score_N, "near 1": -np.abs(score_N - 1), "either": score_N}
    rho = float(stats.spearmanr(ways[better], accuracy_N).statistic)
    return Agreement(name, better, rho, _interval(rho, len(known)), len(known))


def _interval(rho: float, num_trials: int) -> tuple[float, float] | None:
    """95 % of a rank correlation.

    Bonett, Wright, Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations, Psychometrika 65, 2000: variance of z is (1 + rho^2 / 2) / (N - 3).
    """
    if num_trials < 4:
        return None
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (num_trials - 3))
    return math.tanh(z - half), math.tanh(z + half)
