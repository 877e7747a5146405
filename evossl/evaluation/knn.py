"""Nearest neighbours: does a clip lie among clips of its own class?

Shapes: N train clip, M test clip, B test clip of a block, K neighbour, C class.
"""

import math

import numpy as np

from evossl.evaluation.protocol import FoldData, Ints, Metric, classification, rankings

TEMPERATURE = 0.07


def num_neighbours(num_train: int) -> int:
    """Return k = min(20, round(sqrt(N))): 20 from 400 clips on, as in the literature."""
    return min(20, max(1, round(math.sqrt(num_train))))


def knn(sides: FoldData, seed: int = 0) -> dict[str, Metric]:
    """Return accuracy of a vote of the k nearest train clips by cosine, weighted exp(cos / 0.07).

    The weights matter where a class has fewer than k clips: a plain vote never says a rare class.

    Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    section 3.4.
    """
    return classification(sides.test_M, predict(sides))


def predict(sides: FoldData) -> Ints:
    """Return the class that each test clip's neighbours vote for (M,)."""
    k = num_neighbours(len(sides.train_N))
    votes = []
    for order_BN, cosine_BN in rankings(sides.test_MD, sides.train_ND):
        class_BK, weight_BK = sides.train_N[order_BN[:, :k]], np.exp(cosine_BN[:, :k] / TEMPERATURE)
        vote_BC = np.zeros((len(order_BN), sides.num_classes))
        np.add.at(vote_BC, (np.arange(len(order_BN))[:, None], class_BK), weight_BK)
        votes.append(vote_BC.argmax(axis=1))
    return np.concatenate(votes).astype(np.int64)
