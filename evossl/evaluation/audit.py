"""Audit: how far does each label-free score of a run rank its trials as labels do?

Shapes: N trial.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

INDICATOR = "indicator."

Direction = Literal["lower", "higher", "near 1"]
DIRECTIONS: Mapping[str, Direction] = {
    "fitness": "lower",
    "kl_hard": "lower",
    "kl_soft": "lower",
    "kl_l2": "lower",
    "effective_clusters": "higher",
    "ami_views": "higher",
    "ami_shuffled": "lower",
    "mrr": "higher",
    "rankme": "higher",
    "lidar": "higher",
    "alpha_req": "near 1",
    "alignment": "lower",
    "uniformity": "lower",
    "seconds": "lower",
}
"""What its inventors call better; one that is not here is read as "higher"."""


@dataclass(frozen=True)
class Agreement:
    """One score's rank correlation with accuracy.

    Attributes:
        score: "fitness" or an indicator's name.
        better: the direction that the score was read in.
        spearman: oriented: +1 ranks the trials as accuracy does, -1 backwards; None where either
            side is constant or fewer than 3 trials have both.
        interval: 95 %, Fisher's z with Bonett and Wright's variance; None under 4 trials.
        num_trials: trials that have both.
    """

    score: str
    better: Direction
    spearman: float | None
    interval: tuple[float, float] | None
    num_trials: int


def audit(rows: Sequence[Mapping[str, Any]], accuracy: Mapping[int, float]) -> list[Agreement]:
    """Return each score's agreement with accuracy, the best first.

    Args:
        rows: of `trials.parquet`: `trial`, `fitness` and `indicator.<name>` columns.
        accuracy: by trial number, on labelled clips; trials without one are left out.
    """
    judged = [row for row in rows if row["trial"] in accuracy]
    keys = dict.fromkeys(key for row in judged for key in row if key.startswith(INDICATOR))
    table = [
        _agreement(
            key.removeprefix(INDICATOR), [(row.get(key), accuracy[row["trial"]]) for row in judged]
        )
        for key in ("fitness", *keys)
    ]
    return sorted(table, key=lambda one: math.inf if one.spearman is None else -one.spearman)


def _agreement(name: str, pairs: Sequence[tuple[float | None, float]]) -> Agreement:
    better = DIRECTIONS.get(name, "higher")
    known = [(s, a) for s, a in pairs if s is not None and math.isfinite(s) and math.isfinite(a)]
    score_N, accuracy_N = np.array(known, dtype=np.float64).reshape(-1, 2).T
    if len(known) < 3 or np.ptp(score_N) == 0 or np.ptp(accuracy_N) == 0:
        return Agreement(name, better, None, None, len(known))
    oriented = {"lower": -score_N, "higher": score_N, "near 1": -np.abs(score_N - 1)}[better]
    rho = float(stats.spearmanr(oriented, accuracy_N).statistic)
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
