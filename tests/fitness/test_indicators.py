import itertools
import math

import numpy as np
import pytest
import torch

from evossl.fitness import indicators
from tests.helpers.clustered_features import normal


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


def test_lidar_of_huge_features_is_nan() -> None:
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
