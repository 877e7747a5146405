import itertools

import pytest
import torch
from sklearn.cluster import KMeans

from evossl.fitness import clusters
from tests.helpers.clustered_features import normal, real


@pytest.mark.parametrize("separation", [0.0, 0.3, 1.0])
def test_kmeans_is_as_good_as_ten_scikit_learn_restarts(separation: float) -> None:
    x_ND = real(separation=separation).clean_ND
    ours = clusters.inertia(x_ND, clusters.kmeans(x_ND, 17, 0)[0])
    theirs = KMeans(17, n_init=10, random_state=0).fit(x_ND.numpy()).inertia_
    assert ours < 1.02 * theirs


def test_kmeans_ends_with_centroids_at_cluster_means() -> None:
    x_ND = real().clean_ND
    for centroid_KD in clusters.kmeans(x_ND, 9, 0, count=3):
        label_N = clusters.assign(x_ND, centroid_KD)
        nearest_N = torch.cdist(x_ND.double(), centroid_KD.double()).argmin(dim=1)
        assert torch.equal(label_N, nearest_N)
        for k in range(9):
            assert torch.allclose(x_ND[label_N == k].mean(dim=0), centroid_KD[k], atol=1e-4)


def test_inertia_is_the_sum_of_squared_distances() -> None:
    x_ND, centroid_KD = normal(0, 9, 3), normal(1, 4, 3)
    squares = torch.cdist(x_ND.double(), centroid_KD.double()).square()
    assert clusters.inertia(x_ND, centroid_KD) == pytest.approx(float(squares.min(1)[0].sum()))


def test_clusters_beyond_the_distinct_rows_stay_empty() -> None:
    x_ND = normal(0, 3, 4).repeat(5, 1)
    label_N = clusters.assign(x_ND, clusters.kmeans(x_ND, 6, 0)[0])
    assert sorted(torch.bincount(label_N, minlength=6).tolist()) == [0, 0, 0, 5, 5, 5]


def test_matching_equals_the_best_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(10):
        cluster_N, class_N = torch.randint(5, (2, 40), generator=generator)
        best = max(
            float((torch.tensor(order)[cluster_N] == class_N).double().mean())
            for order in itertools.permutations(range(5))
        )
        matched_K = clusters.match_clusters(cluster_N, class_N, 5)
        assert sorted(matched_K.tolist()) == list(range(5))
        assert float((matched_K[cluster_N] == class_N).double().mean()) == best
