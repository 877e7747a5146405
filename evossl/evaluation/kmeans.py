"""The k-means protocol: how well clusters coincide with classes.

Shapes: N training clip, M test clip, C class.
"""

import torch

from evossl.evaluation.fold_data import FoldData
from evossl.evaluation.metrics import ClassPredictions
from evossl.fitness import clusters


def kmeans(data: FoldData, seed: int) -> ClassPredictions:
    """Return the clusters of the test clips, and the classes that the clusters stand for.

    As many clusters as classes are fitted on the training side without labels. They are matched
    with the classes one to one so that most training clips agree (Hungarian algorithm); matching on
    the test clips would lift noise above chance.

    NMI (arithmetic mean), which is computed from the clusters, is not adjusted for chance: with few
    clips, noise scores well above 0. Compare it with random init.
    """
    train_ND, test_MD = (torch.from_numpy(x).float() for x in (data.train_ND, data.test_MD))
    num_clusters = min(data.num_classes, len(train_ND))
    centroid_KD = clusters.kmeans(train_ND, num_clusters, seed)[0]
    class_of_C = clusters.match_clusters(
        clusters.assign(train_ND, centroid_KD), torch.from_numpy(data.train_N), data.num_classes
    )
    cluster_M = clusters.assign(test_MD, centroid_KD)
    return ClassPredictions(data.test_M, class_of_C[cluster_M].numpy(), cluster_M.numpy())
