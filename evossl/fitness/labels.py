"""ELo's weakly supervised variant: accuracy on a few labelled clips.

Shapes: N labelled clip, D feature, K class.
"""

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from evossl.errors import UserError
from evossl.fitness.clusters import assign, kmeans

NEIGHBOURS = 5
FLOOR = 1e-3  # accuracy under which -ln accuracy no longer grows


def knn_accuracy(x_ND: Tensor, label_N: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Return the leave-one-out accuracy of the cosine-weighted vote of the nearest neighbours."""
    classes, label_N = torch.unique(label_N, return_inverse=True)
    unit_ND = F.normalize(x_ND, dim=1)
    similarity_NN = (unit_ND @ unit_ND.T).fill_diagonal_(-torch.inf)
    near = similarity_NN.topk(min(neighbours, len(x_ND) - 1), dim=1)
    vote_NK = torch.zeros(len(x_ND), len(classes))
    vote_NK.scatter_add_(1, label_N[near.indices], near.values.clamp(min=0) + 1e-6)
    return float((vote_NK.argmax(dim=1) == label_N).double().mean())


def kmeans_accuracy(x_ND: Tensor, label_N: Tensor, seed: int) -> float:
    """Return the accuracy of k-means with a cluster a class, under the best matching of the two."""
    classes, label_N = torch.unique(label_N, return_inverse=True)
    cluster_N = assign(x_ND, kmeans(x_ND, len(classes), seed)[0])
    count_KK = torch.bincount(cluster_N * len(classes) + label_N, minlength=len(classes) ** 2)
    matrix = count_KK.view(len(classes), -1).numpy()
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    return float(matrix[rows, columns].sum() / len(label_N))


def label_fitness(x_ND: Tensor, label_N: Tensor | None, by: str, seed: int) -> float:
    """Return -ln accuracy in nats, on the clips that have a label.

    Raises:
        UserError: too few labels to say anything: under 8 clips or under 2 classes.
    """
    known_N = torch.zeros(len(x_ND)).bool() if label_N is None else label_N >= 0
    label_M = None if label_N is None else label_N[known_N]
    if label_M is None or len(label_M) < 8 or len(label_M.bincount().nonzero()) < 2:
        raise UserError(
            "fitness labels: needs at least 8 labelled clips of at least 2 classes; "
            "label more clips, or choose fitness consistent_zipf"
        )
    x_MD = x_ND[known_N]
    accuracy = knn_accuracy(x_MD, label_M) if by == "knn" else kmeans_accuracy(x_MD, label_M, seed)
    return -math.log(max(accuracy, FLOOR))
