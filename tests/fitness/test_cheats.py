"""Features that try to cheat the fitness: a guard rejects them, or they score worse than controls.

Two cheats are known limits of the fitness (see the README): features that identify the clip and
nothing else, and the colours of a clip if colour is not ignored.
"""

import statistics
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from evossl.config import Fitness
from evossl.fitness.control_features import colour_grid, noise_features, zipf_blobs
from evossl.fitness.score import score
from evossl.fitness.zipf import zipf_pmf
from tests.helpers.clustered_features import (
    NUM_CLIPS,
    WIDTH,
    ScoringFeatures,
    four_views,
    mapped,
    normal,
    random_init,
    real,
)

DIRECTION_D = normal(2, WIDTH)


def noise(seed: int) -> Tensor:
    return normal(seed, NUM_CLIPS, WIDTH)


def one_direction(view_noise: float) -> ScoringFeatures:
    along_N = normal(1, NUM_CLIPS)
    return four_views(lambda s: torch.outer(along_N, DIRECTION_D) + view_noise * noise(s))


def near_collapse_to_two(seed: int) -> Tensor:
    sign_N1 = real().clean_ND[:, :1].sign()
    return sign_N1 * DIRECTION_D + 0.05 * noise(seed)


def duplicated(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    row_N = torch.multinomial(zipf_pmf(17), NUM_CLIPS, replacement=True, generator=generator)
    return normal(3, 17, WIDTH)[row_N]


def heavy_tails(seed: int) -> Tensor:
    return noise(seed) / noise(seed + 50).abs().clamp(min=1e-3)


REJECTED = {
    "a point": (four_views(lambda s: torch.ones(NUM_CLIPS, WIDTH)), "collapsed: sd"),
    "zero": (four_views(lambda s: torch.zeros(NUM_CLIPS, WIDTH)), "collapsed: sd"),
    "collapse plus 1e-4 noise": (four_views(lambda s: 1 + 1e-4 * noise(s)), "collapsed"),
    "near-collapse of good features": (mapped(real(), lambda x: 1 + 0.05 * x), "collapsed"),
    "constant encoder with noise": (
        four_views(lambda s: DIRECTION_D + 0.05 * noise(s)),
        "collapsed",
    ),
    "rank 1": (one_direction(0), "collapsed to a line"),
    "rank 1 with little noise": (one_direction(0.01), "collapsed to a line"),
}

LOSING = {
    "near-collapse in two": four_views(near_collapse_to_two),
    "noise": noise_features(NUM_CLIPS, WIDTH, 0),
    "scaled noise": mapped(noise_features(NUM_CLIPS, WIDTH, 0), lambda x: 1e6 * x),
    "tiny noise about 0": mapped(noise_features(NUM_CLIPS, WIDTH, 0), lambda x: 1e-4 * x),
    "Zipf-sized random blobs": zipf_blobs(NUM_CLIPS, WIDTH, 17, 0),
    "heavy tails": four_views(heavy_tails),
    "duplicated rows": four_views(duplicated),
    "constant encoder drowned in noise": four_views(lambda s: DIRECTION_D + noise(s)),
}


@pytest.fixture(scope="module")
def good() -> float:
    found = score(real(), Fitness(), 0)
    assert found.fitness is not None
    return found.fitness


@pytest.fixture(scope="module")
def random_inits() -> list[float]:
    return [score(random_init(10 * i), Fitness(), 0).fitness for i in range(4)]


def sds_below(fitness: float, random_inits: Sequence[float]) -> float:
    return (statistics.fmean(random_inits) - fitness) / statistics.stdev(random_inits)


def test_real_classes_beat_the_random_inits(good: float, random_inits: list[float]) -> None:
    assert sds_below(good, random_inits) > 3


def test_scaling_features_does_not_change_the_fitness(good: float) -> None:
    scaled = mapped(real(), lambda x: x * torch.logspace(-6, 6, WIDTH))
    assert score(scaled, Fitness(), 0).fitness == pytest.approx(good, abs=1e-5)


@pytest.mark.parametrize("cheat", REJECTED)
def test_a_guard_rejects(cheat: str) -> None:
    features, why = REJECTED[cheat]
    found = score(features, Fitness(), 0)
    assert found.fitness is None
    assert found.reason.startswith(why)


@pytest.mark.parametrize("cheat", LOSING)
def test_cheats_that_pass_the_guards_lose_to_controls(
    cheat: str, good: float, random_inits: list[float]
) -> None:
    found = score(LOSING[cheat], Fitness(), 0)
    if found.is_at_chance:
        assert found.lower_bound > good
    else:
        assert found.fitness > good
        assert sds_below(found.fitness, random_inits) <= 3


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_at_chance_and_has_no_fitness(seed: int) -> None:
    found = score(noise_features(NUM_CLIPS, WIDTH, seed), Fitness(), seed)
    assert found.is_at_chance
    assert found.fitness is None
    assert found.reason.startswith("at chance: two views of a clip agree no better")
    assert abs(found.indicators["ami_views"]) <= found.indicators["ami_chance"]


@pytest.mark.parametrize("view_noise", [0.05, 0.15, 0.5])
def test_a_noisy_single_direction_scores_worse_than_classes(view_noise: float, good: float) -> None:
    found = score(one_direction(view_noise), Fitness(), 0)
    assert found.reason is None
    assert found.fitness > good + 0.3


@pytest.mark.parametrize("which", range(4))
def test_any_collapsed_set_but_the_shuffled_one_is_rejected(which: int) -> None:
    sets = [x_ND for _, x_ND in real(60).named()]
    sets[which] = torch.ones(60, WIDTH)
    found = score(ScoringFeatures(*sets), Fitness(), 0)
    assert (found.fitness is None) == (which < 3)


def test_views_in_a_single_cluster_do_not_agree() -> None:
    features = real()
    away_ND = features.clean_ND * 0 + features.clean_ND[0] + 0.2 * noise(9)
    found = score(ScoringFeatures(features.clean_ND, away_ND, away_ND), Fitness(), 0)
    assert found.is_at_chance


def test_known_limit_clip_identity_scores_well(good: float) -> None:
    row_ND = duplicated(1)
    for features in (four_views(lambda s: row_ND), four_views(lambda s: row_ND + 0.1 * noise(s))):
        assert score(features, Fitness(), 0).fitness < good


def coloured_clips(jitter: float, seed: int) -> Tensor:
    """Noise clips, each with its own tint, which a view changes by `jitter`."""
    tint_B3 = normal(0, 200, 3)[:, :, None, None, None] + jitter * normal(seed, 200, 3, 1, 1, 1)
    return tint_B3 + 0.3 * normal(seed + 1, 200, 3, 2, 8, 8)


def test_known_limit_colour_wins_only_if_not_ignored() -> None:
    kept, ignored = (
        score(four_views(lambda s, j=jitter: colour_grid(coloured_clips(j, s))), Fitness(), 0)
        for jitter in (0.0, 3.0)
    )
    assert ignored.is_at_chance
    assert 3 > kept.fitness > score(real(200), Fitness(), 0).fitness
