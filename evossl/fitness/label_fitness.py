"""The fitness `labels`: accuracy on a few labelled clips, the paper's weakly supervised variant.

Shapes: N labelled clip, D feature, K class.
"""

import math

import numpy as np
import torch
from torch import Tensor

from evossl.errors import UserError
from evossl.fitness.clusters import assign, kmeans, match_clusters
from evossl.fitness.knn import cosine_knn

NUM_NEIGHBOURS = 5
MIN_ACCURACY = 1e-3  # a lower accuracy counts as this one, so that -ln accuracy stays finite
MIN_LABELLED_CLIPS = 8


def knn_accuracy(x_ND: Tensor, label_N: Tensor) -> float:
    """Return the leave-one-out accuracy of 5 nearest neighbours that vote by their cosine."""
    label_N = torch.unique(label_N, return_inverse=True)[1]
    classifier = cosine_knn(
        min(NUM_NEIGHBOURS, len(x_ND) - 1), lambda cosine: np.maximum(cosine, 0) + 1e-6
    )
    predicted_N = classifier.fit(x_ND.numpy(), label_N.numpy()).predict(None)
    return float(np.mean(predicted_N == label_N.numpy()))


def kmeans_accuracy(x_ND: Tensor, label_N: Tensor, seed: int) -> float:
    """Return the accuracy of K clusters under the best one-to-one matching with the K classes."""
    classes, label_N = torch.unique(label_N, return_inverse=True)
    cluster_N = assign(x_ND, kmeans(x_ND, len(classes), seed)[0])
    class_of_K = match_clusters(cluster_N, label_N, len(classes))
    return float((class_of_K[cluster_N] == label_N).double().mean())


def label_fitness(x_ND: Tensor, label_N: Tensor | None, metric: str, seed: int) -> float:
    """Return -ln accuracy in nats, on the clips that have a label (0 or more).

    Raises:
        UserError: fewer than 8 labelled clips, or fewer than 2 classes.
    """
    known_N = torch.zeros(len(x_ND)).bool() if label_N is None else label_N >= 0
    label_M = None if label_N is None else label_N[known_N]
    if (
        label_M is None
        or len(label_M) < MIN_LABELLED_CLIPS
        or len(label_M.bincount().nonzero()) < 2
    ):
        raise UserError(
            f"fitness labels: needs at least {MIN_LABELLED_CLIPS} labelled clips of at least 2 "
            "classes; label more clips, or choose the fitness consistent_zipf"
        )
    x_MD = x_ND[known_N]
    if metric == "knn":
        accuracy = knn_accuracy(x_MD, label_M)
    else:
        accuracy = kmeans_accuracy(x_MD, label_M, seed)
    return -math.log(max(accuracy, MIN_ACCURACY))
