"""Metrics of predictions, all in one place; protocols return predictions only.

A metric is a function of test rows, so that `evossl.evaluation.intervals` can resample the test
clips of a single split.

Shapes: M test clip (or query), N training clip (or gallery clip), B query of a block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from evossl.evaluation.fold_data import Bools, Floats, Ints

RECALL_RANKS = (1, 5, 10)
BLOCK_ROWS = 512  # queries whose average precision is computed at once, to bound memory

Metric = Callable[[Ints], float]
"""Rows of the test side (repeats allowed) -> value in [0, 1]."""
Metrics = dict[str, Metric]
"""One fold's metrics by name."""


@dataclass(frozen=True)
class ClassPredictions:
    """The class that a protocol predicts for each test clip.

    Attributes:
        true_M: int64, class of each test clip.
        predicted_M: int64, predicted class.
        cluster_M: int64, cluster of each test clip, if the protocol clusters.
    """

    true_M: Ints
    predicted_M: Ints
    cluster_M: Ints | None = None


@dataclass(frozen=True)
class RetrievalPredictions:
    """The gallery, ranked for each query.

    Attributes:
        is_match_MN: whether the gallery clip at each rank (nearest first) has the query's class.
    """

    is_match_MN: Bools


Predictions = ClassPredictions | RetrievalPredictions


def compute_metrics(predictions: Predictions) -> Metrics:
    """Return the metrics of one fold's predictions."""
    if isinstance(predictions, RetrievalPredictions):
        return _retrieval_metrics(predictions.is_match_MN)
    true_M, cluster_M = predictions.true_M, predictions.cluster_M
    metrics = _classification_metrics(true_M, predictions.predicted_M)
    if cluster_M is not None:
        metrics["nmi"] = lambda rows: float(
            normalized_mutual_info_score(true_M[rows], cluster_M[rows])
        )
    return metrics


def _classification_metrics(true_M: Ints, predicted_M: Ints) -> Metrics:
    """Return `accuracy` and `balanced_accuracy` (the mean over classes of their recall).

    Both, because the classes of videos follow Zipf's law, and a classifier that always predicts the
    largest class is already right often.

    Balanced accuracy is our own because scikit-learn's takes 1 ms per call, 160 times as long, and
    the interval of one split makes 1,000 calls.
    """
    is_right_M = (true_M == predicted_M).astype(np.float64)

    def accuracy(rows: Ints) -> float:
        return float(is_right_M[rows].mean())

    def balanced_accuracy(rows: Ints) -> float:
        count = np.bincount(true_M[rows])
        right = np.bincount(true_M[rows], weights=is_right_M[rows])
        return float((right[count > 0] / count[count > 0]).mean())

    return {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}


def _retrieval_metrics(is_match_MN: Bools) -> Metrics:
    """Return recall@1, 5 and 10 (any of the k nearest is a match) and mean average precision."""
    scores = {
        f"recall@{k}": is_match_MN[:, :k].any(axis=1).astype(np.float64) for k in RECALL_RANKS
    }
    blocks = [
        average_precision(is_match_MN[start : start + BLOCK_ROWS])
        for start in range(0, len(is_match_MN), BLOCK_ROWS)
    ]
    return {
        name: _mean(score_M) for name, score_M in (scores | {"map": np.concatenate(blocks)}).items()
    }


def average_precision(is_match_BN: Bools) -> Floats:
    """Return each query's mean precision at the ranks of its matches; 0 if it has none (B,)."""
    rank_N = np.arange(1, is_match_BN.shape[1] + 1)
    precision_BN = np.cumsum(is_match_BN, axis=1) / rank_N
    num_matches_B = is_match_BN.sum(axis=1)
    total_B = (precision_BN * is_match_BN).sum(axis=1)
    return np.asarray(total_B / np.maximum(num_matches_B, 1), dtype=np.float64)


def _mean(score_M: Floats) -> Metric:
    return lambda rows: float(score_M[rows].mean())
