import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from evossl.config import Fitness
from evossl.errors import UserError
from evossl.fitness.score import ScoringFeatures, check_fitness, resolve_num_clusters, score
from tests.helpers.clustered_features import exact_zipf, mapped, normal, random_init, real

INDICATOR_NAMES = {
    "kl_hard", "kl_soft", "kl_l2", "ami_views", "ami_chance", "ami_shuffled", "mrr", "rankme",
    "lidar", "alpha_req", "alignment", "uniformity", "effective_clusters", "seconds",
}  # fmt: skip


def fitness_of(features: ScoringFeatures, seed: int = 0, **options: object) -> float:
    found = score(features, Fitness(**options), seed)
    assert found.fitness is not None, found.reason
    return found.fitness


@pytest.mark.parametrize("name", ["consistent_zipf", "zipf", "zipf_hard"])
def test_perfect_zipf_and_agreement_score_zero(name: str) -> None:
    features, _ = exact_zipf()
    assert fitness_of(features, name=name, clusters=4) == pytest.approx(0, abs=1e-9)


def test_clusters_and_shares_come_from_the_clean_clips() -> None:
    features, label_N = exact_zipf()
    found = score(features, Fitness(clusters=4), 0)
    assert torch.allclose(found.shares_K, torch.tensor([12, 6, 4, 3]).double() / 25)
    assert torch.allclose(found.zipf_K, found.shares_K)
    same_NN = label_N[:, None] == label_N
    assert torch.equal(found.clusters_N[:, None] == found.clusters_N, same_NN)


def test_exponent_zero_is_the_uniform_prior() -> None:
    label_N = torch.arange(5).repeat(12)
    x_ND = 5 * normal(0, 5, 8)[label_N] + 0.01 * normal(1, 60, 8)
    features = ScoringFeatures(x_ND, x_ND, x_ND)
    assert fitness_of(features, clusters=5, exponent=0.0) == pytest.approx(0, abs=1e-9)
    harmonic = sum(1 / i for i in range(1, 6))
    to_zipf = sum(0.2 * math.log(0.2 * i * harmonic) for i in range(1, 6))
    assert fitness_of(features, clusters=5) == pytest.approx(to_zipf, rel=1e-9)


def test_agreement_enters_the_fitness_in_nats() -> None:
    features, label_N = exact_zipf()
    half = torch.arange(100) % 2 == 0
    moved_N = torch.where(half, label_N, label_N[torch.randperm(100)])
    second_ND = torch.stack([features.clean_ND[label_N == k][0] for k in range(4)])[moved_N]
    partly = ScoringFeatures(features.clean_ND, features.first_ND, second_ND)
    found = score(partly, Fitness(clusters=4), 0)
    assert 0 < found.indicators["ami_views"] < 0.9
    assert found.fitness == pytest.approx(-math.log(found.indicators["ami_views"]), rel=1e-6)


def test_shuffled_clips_are_compared_with_the_clean_ones() -> None:
    clean_ND = exact_zipf()[0].clean_ND
    view_ND = clean_ND[torch.randperm(100, generator=_generator())]
    features = ScoringFeatures(clean_ND, view_ND, view_ND, clean_ND)
    found = score(features, Fitness(clusters=4), 0)
    assert found.fitness == pytest.approx(0, abs=1e-9)
    assert found.indicators["ami_shuffled"] == pytest.approx(1)
    assert found.indicators["alignment"] == 0
    apart = ScoringFeatures(clean_ND, clean_ND, view_ND, view_ND)
    found = score(apart, Fitness(clusters=4), 0)
    assert found.is_at_chance
    assert found.indicators["ami_shuffled"] < 0.1
    assert found.indicators["alignment"] > 0.1


CHANGES = {
    "scaling a feature": lambda x: x * torch.logspace(-4, 4, x.shape[1]),
    "shifting a feature": lambda x: x + torch.linspace(-3, 3, x.shape[1]),
    "flipping the sign of features": lambda x: x * (-1.0) ** torch.arange(x.shape[1]),
    "permuting features": lambda x: x[:, torch.randperm(x.shape[1], generator=_generator())],
    "permuting clips": lambda x: x[torch.randperm(len(x), generator=_generator())],
}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("features", [real(), random_init(7)], ids=["classes", "none"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_fitness_is_invariant_to(change: str, features: ScoringFeatures) -> None:
    changed = mapped(features, CHANGES[change])
    for seed in range(2):
        before, after = fitness_of(features, seed), fitness_of(changed, seed)
        assert after == pytest.approx(before, abs=1e-5)


def test_permuting_clips_changes_nothing_if_rows_are_sampled() -> None:
    generator = torch.Generator().manual_seed(1)
    features = ScoringFeatures(*torch.randn(3, 6000, 8, generator=generator))
    shuffled = mapped(features, lambda x: x[torch.randperm(6000, generator=_generator())])
    options = {"clusters": 24, "name": "zipf_hard"}
    assert fitness_of(shuffled, **options) == pytest.approx(
        fitness_of(features, **options), abs=1e-5
    )


def test_the_same_seed_gives_the_same_score() -> None:
    first, second = (score(real(), Fitness(), 3) for _ in range(2))
    assert first.fitness == second.fitness
    assert first.indicators | {"seconds": 0} == second.indicators | {"seconds": 0}


def test_more_agreement_scores_better() -> None:
    by_noise = [fitness_of(real(view_noise=noise)) for noise in (0.2, 1.0, 2.0)]
    assert by_noise == sorted(by_noise)
    assert by_noise[-1] > by_noise[0] + 0.5


@pytest.mark.parametrize("num_clips", [8, 60, 200])
@pytest.mark.parametrize("name", ["consistent_zipf", "zipf", "zipf_hard"])
def test_every_indicator_exists_with_few_clips(num_clips: int, name: str) -> None:
    found = score(real(num_clips), Fitness(name=name), 0)
    assert set(found.indicators) == INDICATOR_NAMES
    assert found.fitness is not None or found.is_at_chance
    assert len(found.clusters_N) == num_clips


def test_without_shuffled_clips_ami_shuffled_is_missing() -> None:
    features = real(60)
    found = score(
        ScoringFeatures(features.clean_ND, features.first_ND, features.second_ND), Fitness(), 0
    )
    assert INDICATOR_NAMES - set(found.indicators) == {"ami_shuffled"}


def test_kl_indicators_equal_the_zipf_fitnesses() -> None:
    features = real()
    beside = score(features, Fitness(), 0).indicators
    assert beside["kl_soft"] == pytest.approx(fitness_of(features, name="zipf"))
    assert beside["kl_hard"] == pytest.approx(fitness_of(features, name="zipf_hard"))
    l2 = fitness_of(features, name="zipf_hard", preprocess="l2")
    assert beside["kl_l2"] == pytest.approx(l2)


def test_a_large_sigma_makes_soft_shares_uniform() -> None:
    features = real()
    k = resolve_num_clusters(len(features), Fitness())
    harmonic = sum(1 / i for i in range(1, k + 1))
    uniform = sum(math.log(i * harmonic / k) / k for i in range(1, k + 1))
    assert fitness_of(features, name="zipf", sigma=1e4) == pytest.approx(uniform, rel=1e-3)


extreme = st.floats(width=32) | st.sampled_from([0.0, 1e-30, 1e30, 3e38, math.inf, math.nan])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(extreme, min_size=1, max_size=4), st.integers(0, 99), st.booleans())
def test_a_score_is_never_nan(values: list[float], seed: int, in_view: bool) -> None:
    sets = [normal(seed + i, 12, 3) for i in range(4)]
    target = sets[1 if in_view else 0]
    for i, value in enumerate(values):
        target[(seed + 3 * i) % 12, i % 3] = value
    for name in ("consistent_zipf", "zipf"):
        found = score(ScoringFeatures(*sets), Fitness(name=name), seed)
        assert (found.fitness is None) == (found.reason is not None)
        assert found.fitness is None or math.isfinite(found.fitness)
        assert all(math.isfinite(value) for value in found.indicators.values())


@pytest.mark.parametrize(
    ("num_clips", "k"), [(8, 2), (60, 2), (95, 3), (512, 17), (960, 32), (10**5, 32)]
)
def test_the_number_of_clusters_follows_the_clips(num_clips: int, k: int) -> None:
    assert resolve_num_clusters(num_clips, Fitness()) == k


@pytest.mark.parametrize(("num_clips", "clusters"), [(7, None), (39, 20), (60, 1)])
def test_too_few_clips_or_clusters_are_refused(num_clips: int, clusters: int | None) -> None:
    with pytest.raises(UserError, match=r"clips are too few|at least 2"):
        score(real(num_clips), Fitness(clusters=clusters), 0)


def test_an_unknown_fitness_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'consistent_zipf'"):
        check_fitness(Fitness(name="consistant_zipf"))
    with pytest.raises(UserError, match="too few for 300 clusters"):
        check_fitness(Fitness(clusters=300))
    check_fitness(Fitness())
