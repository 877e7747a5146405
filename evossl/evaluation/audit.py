"""Audit: how well does each label-free score of a run rank its trials, compared with labels?

Shapes: N trial.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

from evossl.errors import UserError
from evossl.evaluation.fold_data import Floats, LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, evaluate_folds, summarise
from evossl.evaluation.labels import LabelledVideos, labelled_videos
from evossl.evaluation.splits import Fold, make_folds
from evossl.experiment.held_out import FEATURES_FILE, read_features
from evossl.search.table import TrialRow, read_table
from evossl.types import Progress

ACCURACY_PROTOCOLS = ("knn", "linear")
MIN_TRIALS = 3

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
"""Which values of a score are better (docs/fitness.md). "either": it depends on the use.

Scores that are not listed are not audited: `effective_clusters`, which is best at Zipf's own number
(`kl_hard` measures that), `ami_chance`, a property of the cluster sizes, and `seconds`, a cost."""


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of one score with accuracy.

    Attributes:
        score: "fitness" or the name of an indicator.
        better: which values count as better.
        spearman: +1 if the score ranks the trials as accuracy does, -1 if in reverse. For
            "either", +1 if higher values go with accuracy. None if fewer than 3 trials have both
            numbers, or if all scores or accuracies are equal.
        interval: 95 % (see `_interval`); None for fewer than 4 trials.
        num_trials: number of trials that have both a score and an accuracy.
    """

    score: str
    better: Direction
    spearman: float | None
    interval: tuple[float, float] | None
    num_trials: int


def audit_run(
    run: Path,
    labels: Mapping[str, str | None],
    groups: Mapping[str, str],
    *,
    num_folds: int,
    seed: int,
    progress: Progress | None = None,
) -> list[Agreement]:
    """Return the agreement of each label-free score of a run with accuracy over its trials.

    The accuracy of a trial is the mean of kNN and linear probe on its held-out clips that have a
    label.

    Args:
        run: folder of the run.
        labels: class by path of the video.
        groups: group by path; a group is never on both sides of a fold.
        num_folds: of the cross-validation.
        seed: of the folds.
        progress: called with (trials done, trials in total).

    Raises:
        UserError: as `complete_trials`; or none of the run's held-out videos has a label.
    """
    rows = complete_trials(run)
    accuracy = {}
    for done, row in enumerate(rows, 1):
        file = run / "trials" / str(row.trial) / FEATURES_FILE
        if file.is_file():
            clean_ND, data = _labelled_features(file, labels, groups)
            folds = make_folds(data.labels, data.groups, num_folds, seed)
            accuracy[row.trial] = _accuracy(clean_ND, data, folds, seed)
        if progress:
            progress(done, len(rows))
    return compare_scores(rows, accuracy)


def complete_trials(run: Path) -> list[TrialRow]:
    """Return the trials of a run that can be ranked.

    Raises:
        UserError: the table is missing or damaged, or has fewer than 3 complete trials.
    """
    rows = [row for row in read_table(run / "trials.parquet") if row.status == "complete"]
    if len(rows) < MIN_TRIALS:
        raise UserError(
            f"{run}: has {len(rows)} complete trials; a rank correlation needs at least "
            f"{MIN_TRIALS}"
        )
    return rows


def compare_scores(rows: Sequence[TrialRow], accuracy: Mapping[int, float]) -> list[Agreement]:
    """Return each score's agreement with accuracy, the best first and "either" last.

    Args:
        rows: of trials.
        accuracy: by trial number; trials without one are left out.
    """
    known = [row for row in rows if row.trial in accuracy]
    accuracies = [accuracy[row.trial] for row in known]
    scores = {"fitness": [row.fitness for row in known]} | {
        name: [row.indicators.get(name) for row in known]
        for name in DIRECTIONS
        if any(name in row.indicators for row in known)
    }
    table = [
        _agreement(name, list(zip(values, accuracies, strict=True)))
        for name, values in scores.items()
    ]
    return sorted(table, key=_sort_key)


def _sort_key(agreement: Agreement) -> tuple[bool, float]:
    """Sort "either" last, since such a score cannot rank trials without labels."""
    spearman = agreement.spearman
    return agreement.better == "either", math.inf if spearman is None else -spearman


def _agreement(name: str, pairs: Sequence[tuple[float | None, float]]) -> Agreement:
    better = DIRECTIONS[name]
    known = [(s, a) for s, a in pairs if s is not None and math.isfinite(s) and math.isfinite(a)]
    score_N, accuracy_N = np.array(known, dtype=np.float64).reshape(-1, 2).T
    if len(known) < MIN_TRIALS or np.ptp(score_N) == 0 or np.ptp(accuracy_N) == 0:
        return Agreement(name, better, None, None, len(known))
    oriented = {
        "lower": -score_N,
        "higher": score_N,
        "near 1": -np.abs(score_N - 1),
        "either": score_N,
    }
    rho = float(stats.spearmanr(oriented[better], accuracy_N).statistic)
    return Agreement(name, better, rho, _interval(rho, len(known)), len(known))


def _interval(rho: float, num_trials: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a rank correlation, or None for fewer than 4 trials.

    It is Fisher's z with the variance (1 + rho^2 / 2) / (N - 3) of Bonett, Wright, Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations, Psychometrika 65, 2000.
    """
    if num_trials < 4:
        return None
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (num_trials - 3))
    return math.tanh(z - half), math.tanh(z + half)


def _labelled_features(
    file: Path, labels: Mapping[str, str | None], groups: Mapping[str, str]
) -> tuple[Floats, LabelledVideos]:
    """Return the features of a trial's held-out clips that have a label, and those clips."""
    clean_ND, videos = read_features(file)
    known = [row for row, video in enumerate(videos) if labels.get(video)]
    if not known:
        raise UserError(
            "--data: has no label for any of the run's held-out videos; write their paths as in "
            "the run's manifest.parquet"
        )
    data = labelled_videos(
        [labels[videos[row]] for row in known], [groups[videos[row]] for row in known]
    )
    return clean_ND[known].numpy(), data


def _accuracy(x_ND: Floats, data: LabelledVideos, folds: Sequence[Fold], seed: int) -> float:
    """Return the mean accuracy over protocols and folds."""
    features = LabelledFeatures(x_ND, data.class_N, data.group_N)
    accuracies = []
    for protocol in ACCURACY_PROTOCOLS:
        metrics = evaluate_folds(FROZEN_PROTOCOLS[protocol], features, folds, seed)
        accuracy = summarise(metrics, folds, features.group_N, seed)["accuracy"]
        assert isinstance(accuracy, float)
        accuracies.append(accuracy)
    return statistics.fmean(accuracies)
