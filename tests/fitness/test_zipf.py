import math

import numpy as np
import pytest
import torch

from evossl.fitness.zipf import (
    effective_clusters,
    hard_shares,
    soft_shares,
    zipf_divergence,
    zipf_pmf,
)
from tests.helpers.clustered_features import normal


def test_zipf_shares_and_divergence_equal_loops() -> None:
    k, s = 6, 1.3
    total = sum(i**-s for i in range(1, k + 1))
    q = [i**-s / total for i in range(1, k + 1)]
    assert zipf_pmf(k, s).tolist() == pytest.approx(q)
    p = [0.5, 0.2, 0.2, 0.1, 0.0, 0.0]
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)
    assert zipf_divergence(torch.tensor(p).double(), s) == pytest.approx(expected)


def test_collapse_costs_minus_log_of_the_largest_share() -> None:
    share_K = hard_shares(torch.zeros(9, dtype=torch.int64), 3)
    assert zipf_divergence(share_K) == pytest.approx(math.log(1 + 1 / 2 + 1 / 3))


def test_effective_clusters_of_equal_shares_is_their_number() -> None:
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
