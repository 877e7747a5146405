"""Linear probe: multinomial logistic regression on frozen features.

Shapes: N train clip, M test clip, D feature.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from evossl.evaluation.protocol import Floats, FoldData, Ints, Metric, classification

STRENGTHS = tuple(float(c) for c in 10.0 ** np.arange(-5, 2))
"""Values of C = 1 / L2 that are tried, strongest L2 first."""
INNER_FOLDS = 3


def linear(sides: FoldData, seed: int = 0) -> dict[str, Metric]:
    """Return accuracy of logistic regression whose L2 is chosen inside the train side."""
    train_NR, test_MR = _rotate(sides.train_ND, sides.test_MD)
    strength = choose_strength(train_NR, sides)
    predicted_M = _fit(train_NR, sides.train_N, strength).predict(test_MR)
    return classification(sides.test_M, predicted_M)


def choose_strength(train_NR: Floats, sides: FoldData) -> float:
    """Return the C with most hits in validation inside train; ties: the smaller C.

    With fewer than 2 groups in train there is nothing to validate on: C = 0.01.
    """
    if len(np.unique(sides.group_N)) < 2:
        return 0.01
    return STRENGTHS[int(validation_hits(train_NR, sides).argmax())]


def validation_hits(train_NR: Floats, sides: FoldData) -> Ints:
    """Return, for each C, how many train clips are right in 3-fold validation by group."""
    hits = np.zeros(len(STRENGTHS), dtype=np.int64)
    inner = GroupKFold(min(INNER_FOLDS, len(np.unique(sides.group_N))))
    for fit_idx, held_idx in inner.split(train_NR, sides.train_N, sides.group_N):
        if len(np.unique(sides.train_N[fit_idx])) < 2:
            continue
        for i, strength in enumerate(STRENGTHS):
            model = _fit(train_NR[fit_idx], sides.train_N[fit_idx], strength)
            hits[i] += (model.predict(train_NR[held_idx]) == sides.train_N[held_idx]).sum()
    return hits


def _fit(x_NR: Floats, class_N: Ints, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000).fit(x_NR, class_N)


def _rotate(train_ND: Floats, test_MD: Floats) -> tuple[Floats, Floats]:
    """Express both in an orthonormal basis of train's rows: the same L2 problem, min(N, D) wide."""
    if len(train_ND) >= train_ND.shape[1]:
        return train_ND, test_MD
    basis_RD = np.linalg.svd(train_ND, full_matrices=False)[2]
    return train_ND @ basis_RD.T, test_MD @ basis_RD.T
