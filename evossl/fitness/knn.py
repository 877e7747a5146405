"""Nearest-neighbour classification by cosine similarity, for the fitness and for evaluation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier


def cosine_knn(
    num_neighbours: int, vote: Callable[[NDArray[np.floating]], NDArray[np.floating]]
) -> KNeighborsClassifier:
    """Return a classifier by a weighted vote of the nearest training rows.

    Its `predict(None)` is leave-one-out on the training rows. The cosine of a zero vector is 0.

    Args:
        num_neighbours: at most the number of training rows, or one fewer for leave-one-out.
        vote: weight of each neighbour, given its cosine similarity.
    """
    return KNeighborsClassifier(
        num_neighbours,
        weights=lambda distance: vote(1.0 - distance),
        metric="cosine",
        algorithm="brute",
    )
