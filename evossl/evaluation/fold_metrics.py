"""Metrics of a protocol over folds: their means and 95 % intervals.

Shapes: N clip, D feature, K fold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from evossl.errors import UserError
from evossl.evaluation.fold_data import FoldData, Ints, LabelledFeatures
from evossl.evaluation.intervals import interval_over_clips, interval_over_folds
from evossl.evaluation.kmeans import kmeans
from evossl.evaluation.knn import knn
from evossl.evaluation.linear import linear
from evossl.evaluation.metrics import Metric, Metrics, Predictions, compute_metrics
from evossl.evaluation.retrieval import retrieval
from evossl.evaluation.splits import Fold
from evossl.types import Progress

Protocol = Callable[[FoldData, int], Predictions]
"""(fold, seed) -> predictions for its test side."""

FROZEN_PROTOCOLS: Mapping[str, Protocol] = {
    "knn": knn,
    "linear": linear,
    "retrieval": retrieval,
    "kmeans": kmeans,
}
"""The protocols that need features only."""

SINGLE_THREAD_SIZE = 2**22
"""Number of feature values below which BLAS is faster with one thread. On 240 x 256, two threads on
a busy machine took 16 times the CPU time of one."""

FoldMetrics = Sequence[Metrics]
"""The metrics of each fold."""
Summary = dict[str, float | list[float]]
"""{"accuracy": mean, "accuracy_interval": [low, high], ...}."""


def evaluate_folds(
    protocol: Protocol,
    features: LabelledFeatures,
    folds: Sequence[Fold],
    seed: int,
    progress: Progress | None = None,
) -> FoldMetrics:
    """Return the metrics of each fold under one protocol.

    Args:
        protocol: one of `FROZEN_PROTOCOLS`.
        features: of all clips.
        folds: rows of `features`.
        seed: of the protocol's random numbers.
        progress: called with (folds done, folds in total).

    Raises:
        UserError: some features are not finite.
    """
    metrics = []
    for predictions in predict_folds(protocol, features, folds, seed):
        metrics.append(compute_metrics(predictions))
        if progress is not None:
            progress(len(metrics), len(folds))
    return metrics


def predict_folds(
    protocol: Protocol, features: LabelledFeatures, folds: Sequence[Fold], seed: int
) -> Iterator[Predictions]:
    """Yield the predictions for each fold's test side.

    Raises:
        UserError: some features are not finite.
    """
    x_ND = features.x_ND
    if not np.isfinite(x_ND).all():
        bad = int((~np.isfinite(x_ND)).any(axis=1).sum())
        raise UserError(
            f"{bad} of {len(x_ND)} clips have features that are not finite; the encoder's weights "
            "are damaged or its training diverged"
        )
    with threadpool_limits(1 if x_ND.size < SINGLE_THREAD_SIZE else None):
        for fold in folds:
            yield protocol(FoldData.from_fold(features, fold), seed)


def mean_over_seeds(runs: Sequence[FoldMetrics]) -> FoldMetrics:
    """Return metrics that are the mean over runs with different seeds, fold by fold."""

    def mean(metrics: Sequence[Metric]) -> Metric:
        return lambda rows: float(np.mean([metric(rows) for metric in metrics]))

    return [
        {name: mean([metrics[name] for metrics in same_fold]) for name in same_fold[0]}
        for same_fold in zip(*runs, strict=True)
    ]


def difference(left: FoldMetrics, right: FoldMetrics) -> FoldMetrics:
    """Return metrics that are left minus right, fold by fold; both must have the same folds."""

    def minus(a: Metric, b: Metric) -> Metric:
        return lambda rows: a(rows) - b(rows)

    return [{name: minus(a[name], b[name]) for name in a} for a, b in zip(left, right, strict=True)]


def summarise(
    metrics: FoldMetrics, folds: Sequence[Fold], group_N: Ints, seed: int, lowest: float = 0.0
) -> Summary:
    """Return each metric's mean over folds and its interval, clipped to the metric's range.

    The interval of several folds is `interval_over_folds`, that of one fold (a given split) is
    `interval_over_clips`.

    Args:
        metrics: of each fold.
        folds: the same folds.
        group_N: int64, group of each clip.
        seed: of the resampling of a single fold.
        lowest: the least value of a metric; -1 for differences.
    """
    summary: Summary = {}
    for name in metrics[0]:
        values_K = [
            fold_metrics[name](np.arange(len(fold.test_idx)))
            for fold_metrics, fold in zip(metrics, folds, strict=True)
        ]
        if len(folds) > 1:
            low, high = interval_over_folds(values_K)
        else:
            low, high = interval_over_clips(metrics[0][name], group_N[folds[0].test_idx], seed)
        summary[name] = float(np.mean(values_K))
        summary[f"{name}_interval"] = [max(low, lowest), min(high, 1.0)]
    return summary
