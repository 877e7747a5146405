"""Clustering accuracy: how far are k-means clusters classes?

Shapes: N train clip, M test clip, C class and cluster.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from evossl.evaluation.protocol import FoldData, Ints, Metric, classification


def kmeans(sides: FoldData, seed: int) -> dict[str, Metric]:
    """Return clustering accuracy and normalised mutual information of C = number of classes.

    Clusters are fitted on the train side without labels, named after classes one to one so that
    most train clips agree (Hungarian matching), and read on the test side: naming them on the clips
    that are scored would lift noise above chance.

    NMI (arithmetic mean) is not adjusted for chance: for few clips noise is well above 0; read it
    beside random init.
    """
    clusters = min(sides.num_classes, len(sides.train_N))
    model = KMeans(clusters, n_init=10, random_state=seed).fit(sides.train_ND)
    class_of = match(model.labels_, sides.train_N, sides.num_classes)
    cluster_M = model.predict(sides.test_MD)

    def nmi(rows: Ints) -> float:
        return float(normalized_mutual_info_score(sides.test_M[rows], cluster_M[rows]))

    return classification(sides.test_M, class_of[cluster_M]) | {"nmi": nmi}


def match(cluster_N: Ints, class_N: Ints, num_classes: int) -> Ints:
    """Return the class of each cluster, one to one, that most clips agree with (C,)."""
    count_CC = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(count_CC, (cluster_N, class_N), 1)
    return np.asarray(linear_sum_assignment(count_CC, maximize=True)[1], dtype=np.int64)
