import math
import statistics

import pytest
import torch
from scipy.stats import hypergeom
from sklearn.metrics import adjusted_mutual_info_score

from evossl.fitness.agreement import (
    adjusted_mutual_information,
    chance_sd,
    mean_reciprocal_rank,
)
from tests.helpers.clustered_features import normal


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


def test_ami_is_one_for_itself_and_zero_for_one_cluster() -> None:
    label_N = torch.arange(12) % 3
    assert adjusted_mutual_information(label_N, (label_N + 1) % 3) == pytest.approx(1)
    one_N = torch.zeros(12, dtype=torch.int64)
    assert adjusted_mutual_information(one_N, one_N) == 0
    assert adjusted_mutual_information(label_N, one_N) == 0


@pytest.mark.parametrize(("num_clips", "k"), [(400, 13), (60, 2)])
def test_chance_sd_equals_that_of_permuted_amis(num_clips: int, k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    pairs = [torch.randint(k, (2, num_clips), generator=generator) for _ in range(4)]

    def mean_ami_of_permuted_clips() -> float:
        order = torch.randperm(num_clips, generator=generator)
        return statistics.fmean(adjusted_mutual_info_score(a, b[order]) for a, b in pairs)

    expected = statistics.stdev(mean_ami_of_permuted_clips() for _ in range(1000))
    found = chance_sd([(a, b) for a, b in pairs], seed=0)
    tolerance = (
        0.2 if k > 2 else 0.45
    )  # with 2 clusters the AMI's tail is heavy (chi-squared, 1 df)
    assert found == pytest.approx(expected, rel=tolerance)


def test_a_single_cluster_has_no_chance_agreement() -> None:
    label_N = torch.arange(12) % 3
    assert chance_sd([(label_N, torch.zeros(12, dtype=torch.int64))], seed=0) == 0


def test_mean_reciprocal_rank_equals_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evossl.fitness.agreement.CHUNK_ROWS", 7)
    first, second = normal(0, 20, 3), normal(0, 20, 3) + normal(1, 20, 3)
    total = 0.0
    for i in range(20):
        cosine = [float(first[i] @ x / first[i].norm() / x.norm()) for x in second]
        total += 1 / (1 + sum(c > cosine[i] for c in cosine))
    found = mean_reciprocal_rank(first, second)
    assert found == pytest.approx(total / 20, rel=1e-9)
    assert mean_reciprocal_rank(first, first) == 1


def test_identical_features_have_the_last_rank() -> None:
    same_ND = torch.ones(10, 4)
    assert mean_reciprocal_rank(same_ND, same_ND) == pytest.approx(0.1)
