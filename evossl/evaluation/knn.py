"""The kNN protocol: the class of a clip's nearest neighbours.

Shapes: N training clip, M test clip.
"""

import math

import numpy as np

from evossl.evaluation.fold_data import FoldData
from evossl.evaluation.metrics import ClassPredictions
from evossl.fitness.knn import cosine_knn

TEMPERATURE = 0.07


def num_neighbours(num_train: int) -> int:
    """Return k = min(20, round(sqrt(N))): 20 from 400 clips on, as in the literature."""
    return min(20, max(1, round(math.sqrt(num_train))))


def knn(data: FoldData, seed: int = 0) -> ClassPredictions:
    """Return the vote of the k nearest training clips by cosine, weighted by exp(cos / 0.07).

    The weights matter for a class with fewer than k clips, which a plain vote would never predict.

    Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    section 3.4.
    """
    k = num_neighbours(len(data.train_N))
    classifier = cosine_knn(k, lambda cosine: np.exp(cosine / TEMPERATURE))
    predicted_M = classifier.fit(data.train_ND, data.train_N).predict(data.test_MD)
    return ClassPredictions(data.test_M, predicted_M)
