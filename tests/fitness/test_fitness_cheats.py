"""The fitness cannot be bought: what each cheat meets, and the three that nothing here can catch.

Limits of the README: features that know which clip it is and nothing else, and the colours of a
clip where colour is not ignored.
"""

import pytest
import torch
from torch import Tensor

from evossl.config import Fitness
from evossl.fitness import controls
from evossl.fitness.score import score
from evossl.fitness.zipf import zipf_pmf
from tests.helpers.clustered_features import (
    NUM_CLIPS,
    WIDTH,
    ScoringFeatures,
    four,
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
    return four(lambda s: torch.outer(along_N, DIRECTION_D) + view_noise * noise(s))


def near_collapse_to_two(seed: int) -> Tensor:
    sign_N1 = real().clean_ND[:, :1].sign()
    return sign_N1 * DIRECTION_D + 0.05 * noise(seed)


def duplicated(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    row_N = torch.multinomial(zipf_pmf(17), NUM_CLIPS, replacement=True, generator=generator)
    return normal(3, 17, WIDTH)[row_N]


def heavy_tails(seed: int) -> Tensor:
    return noise(seed) / noise(seed + 50).abs().clamp(min=1e-3)


REFUSED = {
    "a point": (four(lambda s: torch.ones(NUM_CLIPS, WIDTH)), "collapsed: sd"),
    "zero": (four(lambda s: torch.zeros(NUM_CLIPS, WIDTH)), "collapsed: sd"),
    "collapse plus 1e-4 noise": (four(lambda s: 1 + 1e-4 * noise(s)), "collapsed"),
    "near-collapse of good features": (mapped(real(), lambda x: 1 + 0.05 * x), "collapsed"),
    "constant encoder with noise": (four(lambda s: DIRECTION_D + 0.05 * noise(s)), "collapsed"),
    "rank 1": (one_direction(0), "collapsed to a line"),
    "rank 1 with little noise": (one_direction(0.01), "collapsed to a line"),
}

LOSING = {
    "near-collapse in two": four(near_collapse_to_two),
    "noise": controls.noise_features(NUM_CLIPS, WIDTH, 0),
    "scaled noise": mapped(controls.noise_features(NUM_CLIPS, WIDTH, 0), lambda x: 1e6 * x),
    "tiny noise about 0": mapped(controls.noise_features(NUM_CLIPS, WIDTH, 0), lambda x: 1e-4 * x),
    "Zipf-sized random blobs": controls.zipf_blobs(NUM_CLIPS, WIDTH, 17, 0),
    "heavy tails": four(heavy_tails),
    "duplicated rows": four(duplicated),
    "constant encoder drowned in noise": four(lambda s: DIRECTION_D + noise(s)),
}


@pytest.fixture(scope="module")
def good() -> float:
    found = score(real(), Fitness(), 0)
    assert found.fitness is not None
    return found.fitness


@pytest.fixture(scope="module")
def random_inits() -> list[float]:
    return [score(random_init(10 * i), Fitness(), 0).fitness for i in range(4)]


def test_real_classes_beat_the_random_inits(good: float, random_inits: list[float]) -> None:
    assert controls.beats_controls(good, random_inits)


def test_scaled_real_features_win_nothing_and_lose_nothing(good: float) -> None:
    scaled = mapped(real(), lambda x: x * torch.logspace(-6, 6, WIDTH))
    assert score(scaled, Fitness(), 0).fitness == pytest.approx(good, abs=1e-5)


@pytest.mark.parametrize("cheat", REFUSED)
def test_a_guard_refuses(cheat: str) -> None:
    features, why = REFUSED[cheat]
    found = score(features, Fitness(), 0)
    assert found.fitness is None
    assert found.reason.startswith(why)


@pytest.mark.parametrize("cheat", LOSING)
def test_the_controls_win_against(cheat: str, good: float, random_inits: list[float]) -> None:
    found = score(LOSING[cheat], Fitness(), 0)
    assert found.fitness > good
    assert not controls.beats_controls(found.fitness, random_inits)


@pytest.mark.parametrize("view_noise", [0.05, 0.15, 0.5])
def test_one_direction_under_more_noise_than_the_guard_sees_is_no_better_than_classes(
    view_noise: float, good: float
) -> None:
    found = score(one_direction(view_noise), Fitness(), 0)
    assert found.reason is None
    assert found.fitness > good + 0.3


@pytest.mark.parametrize("which", range(4))
def test_one_collapsed_set_is_enough_unless_it_is_the_shuffled_one(which: int) -> None:
    sets = [x_ND for _, x_ND in real(60).named()]
    sets[which] = torch.ones(60, WIDTH)
    found = score(ScoringFeatures(*sets), Fitness(), 0)
    assert (found.fitness is None) == (which < 3)


def test_views_in_one_cluster_do_not_agree() -> None:
    features = real()
    away_ND = features.clean_ND * 0 + features.clean_ND[0] + 0.2 * noise(9)
    found = score(ScoringFeatures(features.clean_ND, away_ND, away_ND), Fitness(), 0)
    assert found.fitness > 3


def test_limit_a_clip_that_is_only_recognised_looks_like_a_good_clip(good: float) -> None:
    row_ND = duplicated(1)
    for features in (four(lambda s: row_ND), four(lambda s: row_ND + 0.1 * noise(s))):
        assert score(features, Fitness(), 0).fitness < good


def coloured_clips(jitter: float, seed: int) -> Tensor:
    """Noise clips with a tint of their own; a view moves the tint by `jitter`."""
    tint_B3 = normal(0, 200, 3)[:, :, None, None, None] + jitter * normal(seed, 200, 3, 1, 1, 1)
    return tint_B3 + 0.3 * normal(seed + 1, 200, 3, 2, 8, 8)


def test_a_colour_grid_loses_where_colour_is_ignored_and_is_a_limit_where_it_is_not() -> None:
    fitness = {
        jitter: score(
            four(lambda s, j=jitter: controls.colour_grid(coloured_clips(j, s))), Fitness(), 0
        ).fitness
        for jitter in (0.0, 3.0)
    }
    classes = score(real(200), Fitness(), 0).fitness
    assert fitness[3.0] > 3 > fitness[0.0]
    assert fitness[0.0] > classes
