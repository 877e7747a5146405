"""Colour operations compared with torchvision's, sample by sample and frame by frame."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from evossl.types import Stream
from evossl.views.build import PIXEL_MEAN, PIXEL_SD, build_views
from evossl.views.colour import (
    ColourPlan,
    add_noise,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    jitter,
    jitter_luma,
    luma,
    plan_colour,
)
from evossl.views.spec import CLEAN, WEAK, View
from evossl.views.step_rng import StepRNG
from tests.helpers.view_clips import build_view, timed_clips, view_settings

Operation = Callable[[Tensor, Tensor], Tensor]


def images(seed: int = 0) -> Tensor:
    x = torch.rand(3, 4, 3, 10, 12, generator=torch.Generator().manual_seed(seed))
    x[0, 0, :, 0] = x[0, 0, :1, 0]  # gray pixels: no hue is defined
    x[0, 1] = x[0, 1].round()  # pure colours: several channels are the largest
    return x


def make_rng(seed: int = 0) -> StepRNG:
    return StepRNG(seed, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (adjust_brightness, tv.adjust_brightness, 0.2, 1.8),
        (adjust_contrast, tv.adjust_contrast, 0.2, 1.8),
        (adjust_saturation, tv.adjust_saturation, 0.2, 1.8),
        (adjust_hue, tv.adjust_hue, -0.5, 0.5),
    ],
)
@pytest.mark.parametrize("frames", [1, 4])
def test_operations_match_torchvision_per_sample(
    ours: Operation, theirs, low: float, high: float, frames: int
) -> None:
    x = images()
    generator = torch.Generator().manual_seed(1)
    parameter = torch.rand(3, frames, generator=generator) * (high - low) + low
    out = ours(x, parameter)
    for b in range(3):
        for t in range(4):
            expected = theirs(x[b, t], float(parameter[b, t % frames]))
            torch.testing.assert_close(out[b, t], expected, atol=2e-5, rtol=0)


def test_luma_matches_torchvision() -> None:
    x = images()
    expected = tv.rgb_to_grayscale(x, num_output_channels=1)
    torch.testing.assert_close(luma(x), expected, atol=1e-3, rtol=0)


def test_jitter_applies_its_operations_in_order() -> None:
    x, plan = images(), plan_colour(make_rng(), 0, 3, None, gray=True)
    gray = torch.tensor([[True], [False], [False]])
    plan = ColourPlan(plan.brightness, plan.contrast, plan.saturation, plan.hue, gray)
    out = jitter(x, plan)
    for b in range(3):
        y = tv.adjust_brightness(x[b], float(plan.brightness[b]))
        y = tv.adjust_contrast(y, float(plan.contrast[b]))
        y = tv.adjust_saturation(y, float(plan.saturation[b]))
        y = tv.adjust_hue(y, float(plan.hue[b]))
        y = tv.rgb_to_grayscale(y, num_output_channels=3) if b == 0 else y
        torch.testing.assert_close(out[b], y, atol=1e-3, rtol=0)


def test_gray_gets_the_brightness_and_contrast_of_rgb() -> None:
    x, plan = luma(images()), plan_colour(make_rng(), 0, 3, None, gray=True)
    out = jitter_luma(x, plan)
    for b in range(3):
        y = tv.adjust_brightness(x[b], float(plan.brightness[b]))
        y = tv.adjust_contrast(y, float(plan.contrast[b]))
        torch.testing.assert_close(out[b], y, atol=1e-4, rtol=0)
    assert (plan.contrast != 1).any()


def test_jitter_and_gray_have_their_probabilities() -> None:
    plan = plan_colour(make_rng(), 0, 4000, None, gray=True)
    changed = (plan.brightness != 1).float().mean()
    assert abs(changed - 0.8) < 0.03
    assert abs(plan.gray.float().mean() - 0.2) < 0.03
    assert ((plan.hue == 0) == (plan.brightness == 1)).all(), (
        "either all operations of a jitter or none"
    )
    assert -0.5 <= plan.hue.min() < -0.49
    assert 0.49 < plan.hue.max() <= 0.5


def test_frames_share_a_jitter_unless_jitter_frames_is_set() -> None:
    clips = timed_clips(batch=20)
    still = type(clips)(**{**vars(clips), "frames_BLHWC": torch.full_like(clips.frames_BLHWC, 90)})
    strong, each = View(Stream.RGB), View(Stream.RGB, space=CLEAN, jitter_frames=True)
    built = build_views([strong, each], still, view_settings("colour", size=4), seed=0, step=0)
    spread = [built[v.input_key].pixels.std(dim=2).amax(dim=(1, 2, 3)) for v in (strong, each)]
    assert spread[0].max() < 1e-5
    assert (spread[1] > 0.1).float().mean() > 0.9


def test_noise_differs_between_samples_in_value_and_strength() -> None:
    x = torch.full((40, 2, 3, 32, 32), 0.5)
    noise = add_noise(x, make_rng(), 0) - 0.5
    deviation = noise.flatten(1).std(dim=1)
    assert 0.3 < (deviation == 0).float().mean() < 0.7
    assert 0.03 < deviation.max() < 0.051
    noisy = noise[deviation > 0.005].flatten(1)
    correlation = torch.corrcoef(noisy) - torch.eye(len(noisy))
    assert correlation.abs().max() < 6 / noisy.shape[1] ** 0.5


def test_colours_change_only_in_strong_views_that_ignore_them() -> None:
    clips = timed_clips(batch=4)
    tinted = clips.frames_BLHWC.clone()
    tinted[..., 0] = 200
    clips = type(clips)(**{**vars(clips), "frames_BLHWC": tinted})
    for view, ignores in (
        (View(Stream.RGB, space=WEAK), ("colour", "noise")),
        (View(Stream.RGB, space=CLEAN), ("colour", "noise")),
        (View(Stream.RGB), ("crop", "flip", "time", "speed")),
    ):
        built = build_view(view, clips, view_settings(*ignores))
        red = built.pixels[:, 0] * PIXEL_SD + PIXEL_MEAN
        torch.testing.assert_close(red, torch.full_like(red, 200 / 255))
