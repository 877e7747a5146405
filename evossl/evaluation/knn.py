"""Nearest neighbours: does a clip lie among clips of its own class?

Shapes: N train clip, M test clip, K neighbour, C class.
"""

import math

import numpy as np

from evossl.evaluation.protocol import Ints, Metric, Sides, classification, cosine

TEMPERATURE = 0.07


def num_neighbours(num_train: int) -> int:
    """Return k = min(20, round(sqrt(N))): 20 from 400 clips on, as in the literature."""
    return min(20, max(1, round(math.sqrt(num_train))))


def knn(sides: Sides, seed: int = 0) -> dict[str, Metric]:
    """Return accuracy of a vote of the k nearest train clips by cosine, weighted exp(cos / 0.07).

    The weights matter where a class has fewer than k clips: a plain vote never says a rare class.

    Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    section 3.4.
    """
    return classification(sides.test_M, predict(sides))


def predict(sides: Sides) -> Ints:
    """Return the class that each test clip's neighbours vote for (M,)."""
    similarity_MN = cosine(sides.test_MD, sides.train_ND)
    k = num_neighbours(len(sides.train_N))
    nearest_MK = np.argsort(-similarity_MN, axis=1, kind="stable")[:, :k]
    weight_MK = np.exp(np.take_along_axis(similarity_MN, nearest_MK, axis=1) / TEMPERATURE)
    votes_MC = np.zeros((len(sides.test_M), sides.num_classes))
    rows_M1 = np.arange(len(sides.test_M))[:, None]
    np.add.at(votes_MC, (rows_M1, sides.train_N[nearest_MK]), weight_MK)
    return np.asarray(votes_MC.argmax(axis=1), dtype=np.int64)
