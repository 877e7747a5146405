"""Audit: how far does each label-free score of a run rank its trials as labels do?

Shapes: N trial.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

from evossl.errors import UserError
from evossl.evaluation.labels import labelled
from evossl.evaluation.score import FROZEN, judge, summarise
from evossl.evaluation.splits import folds
from evossl.experiment.held_out import FEATURES, read_features
from evossl.search.table import TrialRow, read_table

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


PROTOCOLS = ("knn", "linear")
MIN_TRIALS = 3


def audit_run(
    run: Path,
    labels: Mapping[str, str | None],
    groups: Mapping[str, str],
    *,
    num_folds: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Agreement]:
    """Return each label-free score's rank correlation with accuracy over a run's trials.

    Accuracy is the mean of kNN and linear probe on the trials' held-out clips that have a label.

    Args:
        run: folder of the run.
        labels: by path of the video.
        groups: by path: what must not stand on both sides of a fold.
        num_folds: of the cross-validation.
        seed: of the folds.
        progress: called with (trials done, trials in all).

    Raises:
        UserError: as `complete_trials`; no label for the run's held-out videos.
    """
    rows = complete_trials(run)
    accuracy = {}
    for done, row in enumerate(rows, 1):
        file = run / "trials" / str(row.trial) / FEATURES
        if file.is_file():
            accuracy[row.trial] = _accuracy(file, labels, groups, num_folds, seed)
        if progress:
            progress(done, len(rows))
    return audit(rows, accuracy)


def complete_trials(run: Path) -> list[TrialRow]:
    """Return the trials that can be ranked.

    Raises:
        UserError: no table there or a damaged one, fewer than 3 trials.
    """
    rows = [row for row in read_table(run / "trials.parquet") if row.status == "complete"]
    if len(rows) < MIN_TRIALS:
        raise UserError(f"{run}: {len(rows)} complete trials; a rank needs at least {MIN_TRIALS}")
    return rows


def _accuracy(
    file: Path,
    labels: Mapping[str, str | None],
    groups: Mapping[str, str],
    num_folds: int,
    seed: int,
) -> float:
    clean_ND, videos = read_features(file)
    known = [row for row, video in enumerate(videos) if labels.get(video)]
    if not known:
        raise UserError(
            "--data: it labels none of the run's held-out videos; paths must be those of the run's "
            "manifest.parquet"
        )
    data = labelled([labels[videos[row]] for row in known], [groups[videos[row]] for row in known])
    parts = folds(data.labels, data.groups, num_folds, seed)
    x_ND = clean_ND[known].numpy()
    values = []
    for name in PROTOCOLS:
        judged = judge(FROZEN[name], x_ND, data.class_N, data.group_N, parts, seed)
        value = summarise(judged, parts, data.group_N, seed)["accuracy"]
        assert isinstance(value, float)
        values.append(value)
    return statistics.fmean(values)
