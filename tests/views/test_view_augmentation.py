"""The strength of training augmentations: what it changes, and that the fitness never sees it."""

from dataclasses import replace

import pytest
import torch

from evossl.config import Augmentation
from evossl.io.spaces import parse_space
from evossl.types import Stream
from evossl.views.settings import ViewSettings
from evossl.views.spec import STRONG, View
from tests.helpers.view_clips import build_view, noise_clips, view_settings

WORDS = ("colour", "crop", "flip", "time", "speed", "noise")
VIEW = View(Stream.RGB, space=STRONG, draw=1)


def pixels(ignored: str, stream: Stream = Stream.RGB, **strengths: float) -> torch.Tensor:
    settings = replace(view_settings(ignored), augmentation=Augmentation(**strengths))
    return build_view(View(stream, space=STRONG, draw=1), noise_clips(batch=48), settings).pixels


@pytest.mark.parametrize(
    ("word", "key", "stream"),
    [
        ("colour", "colour_strength", Stream.RGB),
        ("colour", "colour_strength", Stream.GRAY),
        ("noise", "noise_strength", Stream.RGB),
        ("noise", "noise_strength", Stream.AUDIO),
    ],
)
def test_strength_scales_the_change_of_a_view(word: str, key: str, stream: Stream) -> None:
    none, half, full = (pixels(word, stream, **{key: value}) for value in (0.0, 0.5, 1.0))
    unchanged = build_view(
        View(stream, space=STRONG, draw=1), noise_clips(batch=48), view_settings()
    ).pixels
    torch.testing.assert_close(none, unchanged, atol=1e-5, rtol=1e-4)
    assert 0 < (half - none).abs().mean() < (full - none).abs().mean()


def crop_areas(smallest: float) -> torch.Tensor:
    settings = replace(view_settings("crop"), augmentation=Augmentation(min_crop_area=smallest))
    clips = noise_clips(batch=48)
    built = [build_view(VIEW, clips, settings, step=step) for step in range(20)]
    return torch.cat([view.applied.crop_B4[:, 2:].prod(dim=1) for view in built])


def test_min_crop_area_bounds_the_crops_of_training() -> None:
    """A crop that is too elongated for its frame is shrunk; small ones always fit."""
    areas = {smallest: crop_areas(smallest) for smallest in (0.05, 0.3, 0.9)}
    for smallest in (0.05, 0.3):
        assert smallest - 1e-4 <= areas[smallest].min() < smallest + 0.02
    means = [float(area.mean()) for area in areas.values()]
    assert means == sorted(means)
    assert means[0] + 0.1 < means[1] < means[2] - 0.1


def test_fitness_views_are_the_same_under_any_gene() -> None:
    keys = {"colour_strength": [0, 1], "min_crop_area": [0.1, 0.9], "noise_strength": [0, 4]}
    space = parse_space(
        {"ignores": list(WORDS), "tasks": {"simclr": {}}, "augmentation": keys}, "space.yaml"
    )
    trial = space.with_genes(
        {
            "augmentation.colour_strength": 0.2,
            "augmentation.min_crop_area": 0.7,
            "augmentation.noise_strength": 3.0,
        }
    )
    clips = noise_clips(batch=12)

    def built(settings: ViewSettings) -> torch.Tensor:
        return build_view(VIEW, clips, replace(settings, frames=8, size=16)).pixels

    fitness = built(ViewSettings.from_space(space))
    assert torch.equal(built(ViewSettings.from_space(trial)), fitness)
    assert torch.equal(built(ViewSettings.for_training(space)), fitness)  # at the defaults
    assert not torch.allclose(built(ViewSettings.for_training(trial)), fitness)
