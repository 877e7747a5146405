"""Each part against its formula in naive float64, or an independent library."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from evossl.fitness import clusters, indicators
from evossl.fitness.agreement import adjusted_mutual_information, mean_reciprocal_rank
from evossl.fitness.standardise import Standardiser, preprocess
from evossl.fitness.zipf import (
    effective_clusters,
    hard_shares,
    soft_shares,
    zipf_divergence,
    zipf_pmf,
)
from tests.helpers.clustered_features import normal, real


def naive_ami(first: list[int], second: list[int]) -> float:
    """Vinh et al. 2010: loops over the contingency table and hypergeometrics."""
    n = len(first)
    a = {i: first.count(i) for i in set(first)}
    b = {j: second.count(j) for j in set(second)}

    def term(m: int, x: int, y: int) -> float:
        return m / n * math.log(n * m / (x * y)) if m else 0.0

    joint = list(zip(first, second, strict=True))
    mutual = sum(term(joint.count((i, j)), a[i], b[j]) for i in a for j in b)
    expected = sum(
        hypergeom.pmf(m, n, a[i], b[j]) * term(m, a[i], b[j])
        for i in a
        for j in b
        for m in range(1, min(a[i], b[j]) + 1)
    )
    entropies = [-sum(c / n * math.log(c / n) for c in sizes.values()) for sizes in (a, b)]
    return (mutual - expected) / (sum(entropies) / 2 - expected)


@pytest.mark.parametrize("seed", range(3))
def test_ami_equals_its_formula_and_scikit_learn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first_N = torch.randint(4, (40,), generator=generator)
    noise_N = torch.randint(5, (40,), generator=generator)
    second_N = torch.where(torch.rand(40, generator=generator) < 0.6, first_N, noise_N)
    ami = adjusted_mutual_information(first_N, second_N)
    assert ami == pytest.approx(naive_ami(first_N.tolist(), second_N.tolist()), rel=1e-9)
    assert ami == pytest.approx(adjusted_mutual_info_score(first_N, second_N), rel=1e-12)


def test_ami_of_a_partition_with_itself_is_one_and_of_a_single_cluster_is_zero() -> None:
    label_N = torch.arange(12) % 3
    assert adjusted_mutual_information(label_N, (label_N + 1) % 3) == pytest.approx(1)
    one_N = torch.zeros(12, dtype=torch.int64)
    assert adjusted_mutual_information(one_N, one_N) == 0
    assert adjusted_mutual_information(label_N, one_N) == 0


def test_reciprocal_rank_is_that_of_loops_over_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evossl.fitness.agreement.CHUNK", 7)
    first, second = normal(0, 20, 3), normal(0, 20, 3) + normal(1, 20, 3)
    total = 0.0
    for i in range(20):
        cosine = [float(first[i] @ x / first[i].norm() / x.norm()) for x in second]
        total += 1 / (1 + sum(c > cosine[i] for c in cosine))
    found = mean_reciprocal_rank(first, second)
    assert found == pytest.approx(total / 20, rel=1e-9)
    assert mean_reciprocal_rank(first, first) == 1


def test_features_that_are_all_alike_have_the_last_rank() -> None:
    same_ND = torch.ones(10, 4)
    assert mean_reciprocal_rank(same_ND, same_ND) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(50, 6), (5, 9)])
def test_rankme_equals_its_formula(shape: tuple[int, int]) -> None:
    x_ND = normal(3, *shape) + 1
    singular = np.linalg.svd(x_ND.double().numpy(), compute_uv=False)
    p = singular / singular.sum() + 1e-7
    assert indicators.rankme(x_ND) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_rankme_of_r_equal_directions_is_r() -> None:
    assert indicators.rankme(torch.eye(8)[:5]) == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize("shape", [(40, 5), (4, 6)])
def test_lidar_equals_its_formula(shape: tuple[int, int]) -> None:
    clip = normal(4, *shape)
    views = np.stack([(clip + 0.3 * normal(5 + i, *shape)).double().numpy() for i in range(2)])
    n, d = shape
    between, within = np.zeros((d, d)), 1e-4 * np.eye(d)
    means = views.mean(0)
    for i in range(n):
        gap = means[i] - means.mean(0)
        between += np.outer(gap, gap) / n
        for v in range(2):
            within += np.outer(views[v, i] - means[i], views[v, i] - means[i]) / (2 * n)
    value, vector = np.linalg.eigh(within)
    root = vector @ np.diag(value**-0.5) @ vector.T
    spectrum = np.linalg.eigvalsh(root @ between @ root).clip(0)
    p = spectrum / spectrum.sum() + 1e-7
    p = np.sort(p)[::-1][: min(n, d)]
    first, second = (torch.from_numpy(view).float() for view in views)
    expected = math.exp(-(p * np.log(p)).sum())
    assert indicators.lidar(first, second) == pytest.approx(expected, rel=1e-4)


def test_lidar_of_features_too_large_for_its_ridge_has_no_value() -> None:
    huge = 1e9 * normal(0, 4, 6)
    assert math.isnan(indicators.lidar(huge, huge + 1e8 * normal(1, 4, 6)))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_is_the_exponent_of_an_exact_power_law(alpha: float) -> None:
    scale_D = torch.arange(1, 11).double() ** (-alpha / 2)
    axes_ND = torch.eye(10).double() * scale_D
    x_ND = torch.cat([axes_ND, -axes_ND]).float() + 3  # centred covariance: diag(scale^2) / 10
    assert indicators.alpha_req(x_ND) == pytest.approx(alpha, rel=1e-4)


def test_alignment_and_uniformity_equal_loops() -> None:
    first, second = normal(6, 15, 4), normal(7, 15, 4)
    unit = [[x / x.norm() for x in view.double()] for view in (first, second)]
    gaps = [float((a - b).square().sum()) for a, b in zip(*unit, strict=True)]
    assert indicators.alignment(first, second) == pytest.approx(np.mean(gaps), rel=1e-5)
    pairs = itertools.combinations(unit[0], 2)
    potential = np.mean([math.exp(-2 * float((a - b).square().sum())) for a, b in pairs])
    assert indicators.uniformity(first) == pytest.approx(math.log(potential), rel=1e-5)


def test_zipf_shares_and_divergence_equal_loops() -> None:
    k, s = 6, 1.3
    total = sum(i**-s for i in range(1, k + 1))
    q = [i**-s / total for i in range(1, k + 1)]
    assert zipf_pmf(k, s).tolist() == pytest.approx(q)
    p = [0.5, 0.2, 0.2, 0.1, 0.0, 0.0]
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)
    assert zipf_divergence(torch.tensor(p).double(), s) == pytest.approx(expected)


def test_collapse_costs_minus_log_of_the_largest_zipf_share() -> None:
    share_K = hard_shares(torch.zeros(9, dtype=torch.int64), 3)
    assert zipf_divergence(share_K) == pytest.approx(math.log(1 + 1 / 2 + 1 / 3))


def test_effective_clusters_of_equal_shares_are_their_number() -> None:
    assert effective_clusters(torch.tensor([0.25] * 4 + [0.0])) == pytest.approx(4)


@pytest.mark.parametrize("sigma", [0.5**0.5, 2.0])
def test_soft_shares_equal_loops(sigma: float) -> None:
    x_ND, centroid_KD = normal(8, 12, 3), normal(9, 4, 3)
    share = np.zeros(4)
    for x in x_ND.double():
        distance = [float((x - c).square().sum()) for c in centroid_KD.double()]
        weight = np.exp([-d / (2 * sigma**2) for d in distance])
        share += weight / weight.sum() / 12
    expected = sorted(share, reverse=True)
    assert soft_shares(x_ND, centroid_KD, sigma).tolist() == pytest.approx(expected, rel=1e-5)


def test_standardised_features_have_mean_0_and_sd_1_and_constants_are_0() -> None:
    x_ND = normal(0, 30, 3) * torch.tensor([1e-3, 1, 1e3]) + torch.tensor([5, 0, 9])
    x_ND = torch.cat([x_ND, torch.full((30, 1), 0.1), torch.zeros(30, 1)], dim=1)
    z_ND = Standardiser.fit(x_ND)(x_ND).numpy()
    assert z_ND[:, :3].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)
    assert z_ND[:, :3].std(axis=0) == pytest.approx(np.ones(3), rel=1e-3)
    assert not z_ND[:, 3:].any()


def test_a_view_is_standardised_by_the_clean_clips() -> None:
    clean_ND = normal(0, 30, 3)
    _, view_ND = preprocess("standard", clean_ND, [clean_ND + clean_ND.std(dim=0, correction=0)])
    assert view_ND.mean(dim=0).tolist() == pytest.approx([1, 1, 1], rel=1e-5)


@pytest.mark.parametrize("kind", ["raw", "l2"])
def test_moving_the_mean_keeps_every_distance(kind: str) -> None:
    clean_ND, view_ND = normal(0, 9, 3) + 2, normal(1, 9, 3)
    moved = preprocess(kind, clean_ND, [view_ND])
    kept = [clean_ND, view_ND] if kind == "raw" else [
        x / x.norm(dim=1, keepdim=True) for x in (clean_ND, view_ND)
    ]  # fmt: skip
    assert torch.allclose(torch.cdist(*moved), torch.cdist(*kept), atol=1e-5)


@pytest.mark.parametrize("separation", [0.0, 0.3, 1.0])
def test_kmeans_is_as_good_as_ten_starts_of_scikit_learn(separation: float) -> None:
    x_ND = real(separation=separation).clean_ND
    ours = clusters.inertia(x_ND, clusters.kmeans(x_ND, 17, 0)[0])
    theirs = KMeans(17, n_init=10, random_state=0).fit(x_ND.numpy()).inertia_
    assert ours < 1.02 * theirs


def test_kmeans_stops_where_centroids_are_the_means_of_their_nearest_rows() -> None:
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


def test_fewer_distinct_rows_than_clusters_leave_clusters_empty() -> None:
    x_ND = normal(0, 3, 4).repeat(5, 1)
    label_N = clusters.assign(x_ND, clusters.kmeans(x_ND, 6, 0)[0])
    assert sorted(torch.bincount(label_N, minlength=6).tolist()) == [0, 0, 0, 5, 5, 5]
