import pytest

from evossl.config import Fitness
from evossl.fitness.control_features import colour_grid, noise_features, zipf_blobs
from evossl.fitness.score import score
from tests.helpers.clustered_features import normal


def test_a_colour_grid_holds_the_mean_colour_of_each_cell() -> None:
    pixels_BCTHW = normal(0, 2, 3, 5, 8, 12)
    grid_BD = colour_grid(pixels_BCTHW)
    assert grid_BD.shape == (2, 48)
    for channel, row, column in ((0, 0, 0), (2, 3, 1)):
        cell = pixels_BCTHW[
            1, channel, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3
        ].mean()
        assert grid_BD[1, 16 * channel + 4 * row + column] == pytest.approx(float(cell), abs=1e-6)


def test_blobs_have_zipf_sizes_and_noise_does_not() -> None:
    blobs = score(zipf_blobs(2000, 16, 8, 0), Fitness(clusters=8), 0).indicators
    assert blobs["kl_hard"] < 0.01
    assert abs(blobs["ami_views"]) < 0.01
    noise = score(noise_features(2000, 16, 0), Fitness(clusters=8), 0).indicators
    assert noise["kl_hard"] > 0.1
    assert abs(noise["ami_views"]) < 0.01
