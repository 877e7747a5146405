"""The linear protocol: multinomial logistic regression on frozen features.

Shapes: N training clip, M test clip, D feature, R = min(N, D).
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from evossl.evaluation.fold_data import Floats, FoldData, Ints
from evossl.evaluation.metrics import ClassPredictions

STRENGTHS = tuple(float(c) for c in 10.0 ** np.arange(-5, 2))
"""Candidates for C = 1 / L2, strongest L2 first."""
DEFAULT_STRENGTH = 0.01  # of a training side with a single group
NUM_INNER_FOLDS = 3


def linear(data: FoldData, seed: int = 0) -> ClassPredictions:
    """Return the predictions of logistic regression; L2 is chosen within the training side."""
    train_NR, test_MR = _rotate(data.train_ND, data.test_MD)
    strength = choose_strength(train_NR, data)
    return ClassPredictions(data.test_M, _fit(train_NR, data.train_N, strength).predict(test_MR))


def choose_strength(train_NR: Floats, data: FoldData) -> float:
    """Return the C with the most correct validation clips; ties go to the smaller C.

    With fewer than 2 groups on the training side there is nothing to validate on: C = 0.01.
    """
    if len(np.unique(data.group_N)) < 2:
        return DEFAULT_STRENGTH
    return STRENGTHS[int(validation_hits(train_NR, data).argmax())]


def validation_hits(train_NR: Floats, data: FoldData) -> Ints:
    """Return, for each C, the number of correct training clips in 3-fold validation by group."""
    hits = np.zeros(len(STRENGTHS), dtype=np.int64)
    inner = GroupKFold(min(NUM_INNER_FOLDS, len(np.unique(data.group_N))))
    for fit_idx, held_idx in inner.split(train_NR, data.train_N, data.group_N):
        if len(np.unique(data.train_N[fit_idx])) < 2:
            continue
        for i, strength in enumerate(STRENGTHS):
            model = _fit(train_NR[fit_idx], data.train_N[fit_idx], strength)
            hits[i] += (model.predict(train_NR[held_idx]) == data.train_N[held_idx]).sum()
    return hits


def _fit(x_NR: Floats, class_N: Ints, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000).fit(x_NR, class_N)


def _rotate(train_ND: Floats, test_MD: Floats) -> tuple[Floats, Floats]:
    """Express both in an orthonormal basis of the training rows.

    That is the same L2-regularised problem, only min(N, D) wide.
    """
    if len(train_ND) >= train_ND.shape[1]:
        return train_ND, test_MD
    basis_RD = np.linalg.svd(train_ND, full_matrices=False)[2]
    return train_ND @ basis_RD.T, test_MD @ basis_RD.T
