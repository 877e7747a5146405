"""The candidate scores of the fitness study equal naive implementations."""

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from evossl.fitness.features import ScoringFeatures
from evossl.fitness.indicators import lidar
from evossl.fitness.score import score

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fitness_candidates

    return fitness_candidates


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(num_clips: int, width: int, num_blobs: int, noise: float, seed: int) -> Tensor:
    """Rows around `num_blobs` centres; the blobs do not depend on the seed."""
    centre_KD = 4 * draw(num_blobs, width, seed=99)
    return centre_KD[torch.arange(num_clips) % num_blobs] + noise * draw(
        num_clips, width, seed=seed
    )


def test_agreement_is_the_indicator_ami_views(candidates: ModuleType) -> None:
    from evossl.config import Fitness

    clean_ND = blobs(120, 6, 4, 1.0, 0)
    first_ND, second_ND = clean_ND + draw(120, 6, seed=1), clean_ND + draw(120, 6, seed=2)
    features = ScoringFeatures(clean_ND, first_ND, second_ND)
    expected = score(features, Fitness(clips=120), seed=3).indicators["ami_views"]
    assert candidates.agreement(clean_ND, first_ND, second_ND, 3) == expected


def test_a_gaussian_twin_has_the_joint_covariance(candidates: ModuleType) -> None:
    one_ND = draw(4000, 2) * torch.tensor([1.0, 3.0]) + 5
    two_ND = one_ND + 0.5 * draw(4000, 2, seed=1)
    generator = torch.Generator().manual_seed(2)
    twin = torch.cat(candidates.gaussian_twin([one_ND, two_ND], generator), dim=1).numpy()
    sets = torch.cat([one_ND, two_ND], dim=1).numpy()
    np.testing.assert_allclose(np.cov(twin.T), np.cov(sets.T), rtol=0.1, atol=0.15)
    np.testing.assert_allclose(twin.mean(axis=0), sets.mean(axis=0), rtol=0.05)


def test_clusters_agree_more_than_their_gaussian_twin(candidates: ModuleType) -> None:
    views = [blobs(300, 4, 10, 0.7, seed) for seed in (1, 2, 3)]
    own, twin = candidates.agreement(*views, 0), candidates.gaussian_agreement(*views, 0)
    assert own > 0.95
    assert own - twin > 0.2


def test_a_continuum_agrees_as_its_gaussian_twin_does(candidates: ModuleType) -> None:
    clean_ND = draw(300, 4)
    views = [clean_ND, *(clean_ND + 0.4 * draw(300, 4, seed=seed) for seed in (1, 2))]
    own, twin = candidates.agreement(*views, 0), candidates.gaussian_agreement(*views, 0)
    assert own > 0.3
    assert own == pytest.approx(twin, abs=0.07)


def test_permuted_clips_agree_by_chance_only(candidates: ModuleType) -> None:
    views = [blobs(120, 6, 4, 0.5, seed) for seed in (1, 2, 3)]
    mean, sd = candidates.permuted_agreement(*views, 0)
    assert abs(mean) < 0.02
    assert 0 < sd < 0.05


def test_a_stream_agrees_with_itself_and_not_with_noise(candidates: ModuleType) -> None:
    x_ND, noise_NE = blobs(120, 6, 4, 0.1, 1), draw(120, 5, seed=2)
    for function in (candidates.cluster_cross_agreement, candidates.predicted_cross_agreement):
        assert function(x_ND, x_ND.clone(), 0) > 0.8
        assert abs(function(x_ND, noise_NE, 0)) < 0.1


def test_predicted_agreement_equals_a_naive_vote(candidates: ModuleType) -> None:
    x_ND, other_NE = draw(60, 3), draw(60, 2, seed=1)
    z_ND = ((x_ND - x_ND.mean(dim=0)) / x_ND.std(dim=0, correction=0)).double().numpy()
    z_ND /= np.linalg.norm(z_ND, axis=1, keepdims=True)
    found = []
    for (label_N,) in candidates.clusters_of_views(other_NE, [other_NE], 0):
        predicted = []
        for n in range(60):
            near = [m for m in np.argsort(-(z_ND @ z_ND[n])) if m != n][:10]
            predicted.append(np.bincount(label_N.numpy()[near]).argmax())
        found.append(adjusted_mutual_info_score(predicted, label_N.numpy()))
    expected = float(np.mean(found))
    assert candidates.predicted_cross_agreement(x_ND, other_NE, 0) == pytest.approx(expected)


@pytest.mark.parametrize("dimension", [1, 3])
def test_the_intrinsic_dimension_ignores_unused_features(
    candidates: ModuleType, dimension: int
) -> None:
    flat_ND = torch.rand(2000, dimension, generator=torch.Generator().manual_seed(0))
    x_ND = flat_ND @ draw(dimension, 10)
    assert candidates.two_nn_dimension(x_ND) == pytest.approx(dimension, rel=0.12)


def test_clusters_of_blobs_are_learnable(candidates: ModuleType) -> None:
    assert candidates.cluster_learnability(blobs(120, 6, 4, 0.1, 1), 0) == 1.0
    assert candidates.cluster_learnability(draw(120, 30), 0) < 0.9


def test_nesum_counts_equal_directions(candidates: ModuleType) -> None:
    x_ND = torch.cat([torch.eye(5), -torch.eye(5)]) + 7
    assert candidates.nesum(x_ND) == pytest.approx(5)
    assert candidates.nesum(draw(50, 1)) == pytest.approx(1)


def test_lidar_of_two_views_is_the_indicator(candidates: ModuleType) -> None:
    first_ND, second_ND = draw(50, 6), draw(50, 6) + 0.3 * draw(50, 6, seed=1)
    found = candidates.lidar_of_views(torch.stack([first_ND, second_ND], dim=1))
    assert found == pytest.approx(lidar(first_ND, second_ND))


def test_lidar_of_many_views_equals_a_naive_one(candidates: ModuleType) -> None:
    x_NVD = draw(20, 1, 4) + 0.5 * draw(20, 5, 4, seed=1)
    x = x_NVD.double().numpy()
    mean_ND = x.mean(axis=1)
    rows = (x - mean_ND[:, None]).reshape(-1, 4)
    within = rows.T @ rows / len(rows) + 1e-4 * np.eye(4)
    between = np.cov(mean_ND.T, bias=True)
    value_J = np.linalg.eigvals(np.linalg.inv(within) @ between).real
    p_J = value_J / value_J.sum() + 1e-7
    expected = math.exp(-(p_J * np.log(p_J)).sum())
    assert candidates.lidar_of_views(x_NVD) == pytest.approx(expected)


def test_whitening_finds_clusters_beside_a_large_axis(candidates: ModuleType) -> None:
    """On one noisy axis of large variance, shared by many features, and clusters on another."""
    cluster_N1 = (torch.arange(200) % 2 * 2.0 - 1)[:, None]

    def view(seed: int) -> Tensor:
        wide = 3 * draw(200, 1, seed=seed).expand(-1, 20)
        return torch.cat([wide + 0.1 * draw(200, 20, seed=seed + 10), 2 * cluster_N1], dim=1)

    views = [view(seed) for seed in (1, 2, 3)]
    assert candidates.whitened_agreement(*views, 0) > candidates.agreement(*views, 0)
