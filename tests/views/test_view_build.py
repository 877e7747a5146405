"""Properties of `build_views` that hold for every kind of view."""

import pytest
import torch

from evossl.types import Stream
from evossl.views import build as build_module
from evossl.views.build import PIXEL_MEAN, PIXEL_SD, build_views
from evossl.views.colour import luma
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, WEAK, Applied, Cells, Mask, Role, Space, Time, View, ViewInput
from evossl.views.step_rng import StepRNG, generator
from tests.helpers.view_clips import build_view, noise_clips, view_settings

EVERYTHING = ("colour", "crop", "flip", "time", "speed", "noise")
OUTER = View(Stream.RGB, draw=1)
VIEWS = [
    *(View(stream, draw=draw) for stream in Stream for draw in (0, 1)),
    *(View(stream, space=WEAK, time=Time(reverse=0.5)) for stream in Stream),
    View(Stream.RGB, encoder=Role.MOMENTUM, draw=1),
    View(Stream.RGB, space=CLEAN),
    View(Stream.RGB, space=Space("strong", (0.1, 0.4), 8), within=OUTER, draw=5, pieces=2),
    View(Stream.GRAY, jitter_frames=True, time=Time(segments=2, shuffle=0.5)),
    View(Stream.AUDIO, time=Time(segments=2, shift=0.5), pieces=2),
    View(Stream.RGB, mask=Mask(0.5, 4)),
    View(Stream.FLOW, time=Time(frames=6, offset=2, stride=(1, 2))),
    View(Stream.FLOW, time=Time(frames=6, hole=2)),
    View(Stream.RGB, channels="luma"),
    View(Stream.RGB, channels="random", jitter_frames=True, cells=Cells(rows=2, columns=2)),
    View(Stream.FLOW, space=WEAK, cells=Cells(2, 1, 2, orders=3)),
    View(Stream.AUDIO, cells=Cells(times=4)),
]


def same(a: ViewInput, b: ViewInput) -> bool:
    fields = [name for name in Applied.__dataclass_fields__ if getattr(a.applied, name) is not None]
    return (
        torch.equal(a.pixels, b.pixels)
        and torch.equal(a.valid_B, b.valid_B)
        and all(torch.equal(getattr(a.applied, n), getattr(b.applied, n)) for n in fields)
    )


def test_a_view_does_not_depend_on_the_other_views() -> None:
    clips, settings = noise_clips(), view_settings(*EVERYTHING)
    together = build_views(VIEWS, clips, settings, seed=1, step=2)
    backwards = build_views(reversed(VIEWS), clips, settings, seed=1, step=2)
    for view in VIEWS:
        alone = build_view(view, clips, settings, seed=1, step=2)
        assert same(alone, together[view.input_key]), view
        assert same(alone, backwards[view.input_key]), view


def test_inputs_are_keyed_by_recipe_without_encoder() -> None:
    built = build_views(VIEWS, noise_clips(), view_settings(), seed=0, step=0)
    assert list(built) == list(dict.fromkeys(view.input_key for view in VIEWS))
    assert len(built) == len(VIEWS) - 1, "the momentum view shares the input of a student view"
    inner = View(Stream.RGB, within=View(Stream.RGB, encoder=Role.MOMENTUM))
    assert inner.input_key == View(Stream.RGB, within=View(Stream.RGB, encoder=Role.NONE)).input_key


@pytest.mark.parametrize("view", VIEWS, ids=range(len(VIEWS)))
def test_input_shape_predicts_the_built_shape(view) -> None:
    built = build_view(view, noise_clips(), view_settings(*EVERYTHING))
    pieces = (view.num_pieces,) if view.num_pieces > 1 else ()
    assert built.pixels.shape == (6, *pieces, *input_shape(view, view_settings(), 12.0))
    assert built.pixels.dtype == torch.float32
    assert built.pixels.is_contiguous()
    assert built.pixels.isfinite().all()


def test_views_change_with_seed_step_and_draw_and_repeat() -> None:
    clips, settings, view = noise_clips(), view_settings(*EVERYTHING), View(Stream.RGB)
    first = build_view(view, clips, settings)
    assert same(first, build_view(view, clips, settings))
    for seed, step, draw in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        other_view = View(Stream.RGB, draw=draw)
        other = build_view(other_view, clips, settings, seed=seed, step=step)
        assert not torch.allclose(first.applied.crop_B4, other.applied.crop_B4)


def test_random_numbers_are_independent_across_arguments() -> None:
    arguments = [(s, t, d, p) for s in (0, 1) for t in (0, 1) for d in (0, 1) for p in ("a", "b")]
    rows = torch.stack([torch.rand(2000, generator=generator(*each)) for each in arguments])
    correlation = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlation.abs().max() < 5 / 2000**0.5
    u = StepRNG(0, 0, torch.device("cpu")).uniform(0, "a", 2000, low=-2, high=3)
    assert -2 <= u.min() < -1.98
    assert 2.98 < u.max() < 3


def test_gray_and_rgb_of_equal_draws_share_a_crop() -> None:
    clips = noise_clips()
    rgb, gray = (View(stream, draw=2) for stream in (Stream.RGB, Stream.GRAY))
    built = build_views([rgb, gray], clips, view_settings("crop", "flip", "time"), seed=0, step=0)
    image = built[rgb.input_key].pixels.transpose(1, 2) * PIXEL_SD + PIXEL_MEAN
    expected = (luma(image).transpose(1, 2) - PIXEL_MEAN) / PIXEL_SD
    torch.testing.assert_close(built[gray.input_key].pixels, expected, atol=1e-3, rtol=1e-3)


def test_streams_and_masks_of_equal_draws_are_cropped_once(monkeypatch) -> None:
    calls = []
    crop = build_module.crop_frames
    monkeypatch.setattr(build_module, "crop_frames", lambda *a: calls.append(a) or crop(*a))
    views = [View(stream) for stream in Stream] + [View(Stream.RGB, mask=Mask(0.5, 4))]
    build_views(views, noise_clips(), view_settings(*EVERYTHING), seed=0, step=0)
    assert len(calls) == 1
    build_views(
        [*views, View(Stream.RGB, draw=1)],
        noise_clips(),
        view_settings(*EVERYTHING),
        seed=0,
        step=0,
    )
    assert len(calls) == 3


def test_a_clean_view_has_no_randomness_in_space() -> None:
    clips, view = noise_clips(length=8), View(Stream.RGB, space=CLEAN)
    one, other = (
        build_view(view, clips, view_settings(*EVERYTHING), seed=seed, step=seed) for seed in (0, 1)
    )
    assert torch.equal(one.pixels, other.pixels)


def test_autocast_does_not_change_views() -> None:
    views, clips, settings = (
        [View(Stream.RGB), View(Stream.FLOW)],
        noise_clips(),
        view_settings(*EVERYTHING),
    )
    plain = build_views(views, clips, settings, seed=0, step=0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = build_views(views, clips, settings, seed=0, step=0)
    assert all(same(plain[v.input_key], inside[v.input_key]) for v in views)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_builds_the_same_views() -> None:
    clips, settings = noise_clips(), view_settings(*EVERYTHING)
    here = build_views(VIEWS, clips, settings, seed=0, step=0)
    there = build_views(VIEWS, clips.to("cuda"), settings, seed=0, step=0)
    for view, built in here.items():
        assert torch.equal(built.applied.start_B, there[view].applied.start_B.cpu())
        error = (built.pixels - there[view].pixels.cpu()).abs()
        assert error.mean() < 1e-2, view
