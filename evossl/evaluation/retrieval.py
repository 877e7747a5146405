"""Retrieval: test clips look for train clips of their own class.

Shapes: N train clip (gallery), M test clip (query), B query of a block.
"""

from collections import defaultdict

import numpy as np

from evossl.evaluation.protocol import Floats, FoldData, Ints, Metric, rankings

RECALLS = (1, 5, 10)


def retrieval(sides: FoldData, seed: int = 0) -> dict[str, Metric]:
    """Return recall@1, 5, 10 (any of the k nearest is right) and mean average precision.

    The gallery is the train side, the queries the test side, the order cosine: the protocol of
    Xu et al., Self-Supervised Spatiotemporal Learning via Video Clip Order Prediction, CVPR 2019.
    """
    found: dict[str, list[Floats]] = defaultdict(list)
    start = 0
    for order_BN, _ in rankings(sides.test_MD, sides.train_ND):
        class_B1 = sides.test_M[start : start + len(order_BN), None]
        right_BN = sides.train_N[order_BN] == class_B1
        for k in RECALLS:
            found[f"recall@{k}"].append(right_BN[:, :k].any(axis=1).astype(np.float64))
        found["map"].append(average_precision(right_BN))
        start += len(order_BN)
    return {name: _mean(np.concatenate(scores)) for name, scores in found.items()}


def average_precision(right_MN: Ints | np.ndarray) -> Floats:
    """Return each query's mean precision at the ranks of its right answers; 0 if it has none."""
    rank_N = np.arange(1, right_MN.shape[1] + 1)
    precision_MN = np.cumsum(right_MN, axis=1) / rank_N
    num_right_M = right_MN.sum(axis=1)
    total_M = (precision_MN * right_MN).sum(axis=1)
    return np.asarray(total_M / np.maximum(num_right_M, 1), dtype=np.float64)


def _mean(score_M: Floats) -> Metric:
    return lambda rows: float(score_M[rows].mean())
