"""Protocols over folds: each metric's mean, and its 95 % interval.

Shapes: N clip, D feature, K fold, S seed.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from evossl.errors import UserError
from evossl.evaluation.intervals import over_clips, over_folds
from evossl.evaluation.kmeans import kmeans
from evossl.evaluation.knn import knn
from evossl.evaluation.linear import linear
from evossl.evaluation.protocol import Floats, Ints, Metric, Protocol, sides
from evossl.evaluation.retrieval import retrieval
from evossl.evaluation.splits import Fold

FROZEN: Mapping[str, Protocol] = {
    "knn": knn,
    "linear": linear,
    "retrieval": retrieval,
    "kmeans": kmeans,
}
"""The protocols that need features only."""

SMALL = 2**22
"""Values of a feature matrix under which BLAS is faster in one thread: measured on 240 x 256, where
two threads on a busy machine took 16 times the CPU time of one."""

FoldMetrics = Sequence[Mapping[str, Metric]]
"""Each fold's metrics by name."""
Summary = dict[str, float | list[float]]
"""{"accuracy": mean, "accuracy_interval": [low, high], ...}."""


def judge(
    protocol: Protocol,
    x_ND: Floats,
    class_N: Ints,
    group_N: Ints,
    folds: Sequence[Fold],
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> FoldMetrics:
    """Return the metrics of each fold under one protocol.

    Args:
        protocol: one of `FROZEN`.
        x_ND: features of all clips.
        class_N: int64, class of each clip.
        group_N: int64, group of each clip.
        folds: of `evossl.evaluation.splits`.
        seed: of what is random in the protocol.
        progress: called with (folds done, folds in all).

    Raises:
        UserError: features that are not finite.
    """
    if not np.isfinite(x_ND).all():
        bad = int((~np.isfinite(x_ND)).any(axis=1).sum())
        raise UserError(f"{bad} of {len(x_ND)} clips have features that are not finite")
    threads = 1 if x_ND.size < SMALL else None
    judged = []
    with threadpool_limits(threads):
        for fold in folds:
            judged.append(protocol(sides(x_ND, class_N, group_N, fold), seed))
            if progress is not None:
                progress(len(judged), len(folds))
    return judged


def mean_over(judged_S: Sequence[FoldMetrics]) -> FoldMetrics:
    """Return metrics that are the mean over seeds, fold by fold."""

    def mean(metrics: Sequence[Metric]) -> Metric:
        return lambda rows: float(np.mean([metric(rows) for metric in metrics]))

    return [
        {name: mean([one[name] for one in fold_S]) for name in fold_S[0]}
        for fold_S in zip(*judged_S, strict=True)
    ]


def difference(left: FoldMetrics, right: FoldMetrics) -> FoldMetrics:
    """Return metrics that are left minus right, fold by fold: both saw the same clips."""

    def minus(a: Metric, b: Metric) -> Metric:
        return lambda rows: a(rows) - b(rows)

    return [{name: minus(a[name], b[name]) for name in a} for a, b in zip(left, right, strict=True)]


def summarise(
    judged: FoldMetrics, folds: Sequence[Fold], group_N: Ints, seed: int, lowest: float = 0.0
) -> Summary:
    """Return each metric's mean over folds and its interval, cut to where the metric can be.

    Several folds: `intervals.over_folds`. One fold (an explicit split): `intervals.over_clips`.

    Args:
        judged: metrics of each fold.
        folds: the same folds.
        group_N: int64, group of each clip.
        seed: of the resampling of one fold.
        lowest: least value a metric can have; a difference's is -1.
    """
    summary: Summary = {}
    for name in judged[0]:
        values_K = [
            fold_metrics[name](np.arange(len(fold.test_idx)))
            for fold_metrics, fold in zip(judged, folds, strict=True)
        ]
        low, high = (
            over_folds(values_K)
            if len(folds) > 1
            else over_clips(judged[0][name], group_N[folds[0].test_idx], seed)
        )
        summary[name] = float(np.mean(values_K))
        summary[f"{name}_interval"] = [max(low, lowest), min(high, 1.0)]
    return summary
