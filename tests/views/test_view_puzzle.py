"""Puzzles: pieces identified by their stripes, and shortcuts that must not reveal the order.

Shapes: B clip, N piece, L frame, C channel, H height, W width.
"""

from itertools import permutations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from evossl.errors import UserError
from evossl.types import AUDIO_RATE, ClipBatch, Stream
from evossl.views import build as build_module
from evossl.views.build import PIXEL_MEAN, PIXEL_SD, build_views
from evossl.views.colour import luma
from evossl.views.crop import SpacePlan
from evossl.views.puzzle import distant_orders, plan_pieces, standardise_pieces
from evossl.views.shapes import check_fits
from evossl.views.spec import CLEAN, WEAK, Cells, Time, View
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import min_window_steps, piece_and_cell_steps, plan_time
from tests.helpers.shortcut_readers import chance_limit, linear_accuracy
from tests.helpers.view_batches_with_time import gliding_tone, pitch
from tests.helpers.view_clips import build_view, timed_clips, view_settings

CPU = torch.device("cpu")
SQUARE = Cells(rows=2, columns=2)


def clips_of(frames_BLHWC: Tensor) -> ClipBatch:
    num, length, height, width, _ = frames_BLHWC.shape
    samples = round(length / 12 * AUDIO_RATE)
    return ClipBatch(
        frames_BLHWC=(frames_BLHWC * 255).round().clamp(0, 255).byte().contiguous(),
        num_frames_B=torch.full((num,), length),
        size_B2=torch.tensor([[height, width]]).repeat(num, 1),
        waveform_BS=torch.zeros(num, samples),
        has_audio_B=torch.zeros(num, dtype=torch.bool),
        video_id_B=torch.arange(num),
        fps=12.0,
    )


def striped(num: int, length: int, side: int = 64) -> ClipBatch:
    """Clips whose 2 x 2 x 2 cells can be accuracy apart.

    Stripes are red above and blue below, vertical on the left and horizontal on the right; in the
    second half of the frames, they are green as well.
    """
    x = torch.arange(side)
    stripe = (x // 4 % 2).float()
    upright, level = stripe.expand(side, side), stripe[:, None].expand(side, side)
    left, above = (x < side / 2).expand(side, side), (x < side / 2)[:, None].expand(side, side)
    wave = torch.where(left, upright, level)
    frames = torch.full((length, side, side, 3), 0.5)
    frames[..., 0] = torch.where(above, wave, torch.full_like(wave, 0.5))
    frames[..., 2] = torch.where(above, torch.full_like(wave, 0.5), wave)
    frames[length // 2 :, ..., 1] = wave
    return clips_of(frames.expand(num, -1, -1, -1, -1))


def cells_seen(x_BNCTHW: Tensor) -> Tensor:
    """(B, N): numbers of the cells, in a 2 x 2 x 2 grid, that the pieces show."""
    red, green, blue = x_BNCTHW.square().mean(dim=(3, 4, 5)).unbind(dim=2)
    across = x_BNCTHW.diff(dim=5).square().mean(dim=(2, 3, 4, 5))
    down = x_BNCTHW.diff(dim=4).square().mean(dim=(2, 3, 4, 5))
    return 4 * (green > 0.5).long() + 2 * (blue > red).long() + (down > across).long()


def plans(cells: Cells, batch: int, flipped: bool = False) -> tuple[Tensor, Tensor]:
    """(B, N, 4) boxes of the pieces of a crop of 80 x 120 at (10, 20), and (B, N) first frames."""
    view = View(Stream.RGB, Time(frames=8), cells=cells)
    clips = clips_of(torch.zeros(1, 40, 2, 2, 3).expand(batch, -1, -1, -1, -1))
    rng = StepRNG(0, 0, CPU)
    space = SpacePlan(
        torch.tensor([[10.0, 20.0, 80.0, 120.0]]).repeat(batch, 1),
        torch.full((batch,), flipped),
        torch.zeros(batch),
        16,
    )
    time = plan_time(view, clips, view_settings(size=32), rng, None)
    pieces = plan_pieces(
        cells, time, piece_and_cell_steps(view, cells, view_settings(size=32)), space, rng, 0
    )
    boxes = torch.stack([space.box_B4 for _, space in pieces], dim=1)
    return boxes, torch.stack([piece.start_B - time.start_B for piece, _ in pieces], dim=1)


@pytest.mark.parametrize("cells", [Cells(2, 2, 2), Cells(2, 2, 2, gap=0.0), Cells(2, 2, 2, 0.5, 5)])
def test_applied_names_the_cell_of_each_piece(cells: Cells) -> None:
    view = View(Stream.RGB, Time(frames=4), CLEAN, cells=cells)
    built = build_view(
        view, striped(40, min_window_steps(view, view_settings(size=32))), view_settings(size=32)
    )
    assert built.pixels.shape == (40, 8, 3, 2, 16, 16)
    assert torch.equal(cells_seen(built.pixels), built.applied.permutation_BN)
    assert len({tuple(order) for order in built.applied.permutation_BN.tolist()}) > 3


def test_a_mirrored_clip_mirrors_its_columns() -> None:
    boxes_BN4, _ = plans(Cells(columns=3), 1, flipped=True)
    lefts = boxes_BN4[0, :, 1].tolist()
    assert lefts == sorted(lefts, reverse=True)


def test_pieces_stay_half_a_gap_apart_in_space() -> None:
    boxes_BN4, _ = plans(Cells(rows=2, columns=3, gap=0.2), 500)
    assert torch.allclose(boxes_BN4[..., 2:], torch.tensor([0.8 * 40, 0.8 * 40]))
    top, left = boxes_BN4[..., 0].view(-1, 2, 3), boxes_BN4[..., 1].view(-1, 2, 3)
    bottom, right = top + 32, left + 32
    assert (top[:, 1] - bottom[:, 0]).min() >= 4 - 1e-4
    assert (left[:, :, 1:] - right[:, :, :-1]).min() >= 4 - 1e-4
    assert 4 <= (left[:, :, 1:] - right[:, :, :-1]).min() + 1e-4 < 5
    assert 11 < (left[:, :, 1:] - right[:, :, :-1]).max() < 12 + 1e-4
    assert (top[:, 0] >= 10).all()
    assert (bottom[:, 1] <= 90).all()


def test_pieces_stay_half_a_gap_apart_in_time() -> None:
    _, start_BN = plans(Cells(times=2, gap=0.5), 500)  # 4 frames in cells of 8 steps
    late = start_BN - torch.tensor([0, 8])
    assert sorted(set(late.flatten().tolist())) == [0, 1, 2]
    assert (start_BN[:, 1] - (start_BN[:, 0] + 4)).min() == 2
    view = View(Stream.RGB, Time(frames=8), cells=Cells(times=2, gap=0.5))
    assert min_window_steps(view, view_settings(size=32)) == 16


@pytest.mark.parametrize(("cells", "num_orders"), [(SQUARE, 24), (Cells(3, 1, 2, orders=10), 10)])
def test_orders_are_uniform_and_identified_by_number(cells: Cells, num_orders: int) -> None:
    view = View(Stream.RGB, Time(frames=6), CLEAN, cells=cells)
    applied = build_view(
        view, clips_of(torch.zeros(2000, 12, 4, 4, 3)), view_settings(size=2)
    ).applied
    assert cells.num_orders == num_orders
    counts = torch.bincount(applied.order_B, minlength=num_orders)
    mean = 2000 / num_orders
    assert len(counts) == num_orders
    assert ((counts - mean).abs() < 5 * mean**0.5).all()
    pairs = zip(applied.order_B.tolist(), map(tuple, applied.permutation_BN.tolist()), strict=True)
    named = dict(pairs)
    assert len(set(named.values())) == num_orders
    expected = list(permutations(range(4))) if cells is SQUARE else distant_orders(10, 6).tolist()
    assert [list(named[i]) for i in range(num_orders)] == [list(order) for order in expected]


@pytest.mark.parametrize(
    ("count", "pieces", "apart"), [(4, 4, 4), (6, 3, 2), (64, 9, 7), (56, 8, 7)]
)
def test_distant_orders_differ_in_many_places(count: int, pieces: int, apart: int) -> None:
    orders = distant_orders(count, pieces)
    assert orders.sort(dim=1).values.equal(torch.arange(pieces).expand(count, pieces))
    assert orders[0].tolist() == list(range(pieces))
    differ = (orders[:, None] != orders[None]).sum(dim=2)
    assert differ[~torch.eye(count, dtype=torch.bool)].min() == apart
    if count < 60:
        assert torch.equal(distant_orders(count - 1, pieces), orders[:-1])


def test_impossible_sets_of_orders_are_refused() -> None:
    for count, pieces in ((25, 4), (0, 4), (10, 10), (51_841, 9)):
        with pytest.raises(UserError, match=f"{pieces} pieces cannot have {count} orders"):
            distant_orders(count, pieces)


def test_pieces_are_standardised_unless_flat() -> None:
    x = 7 + 3 * torch.randn(2, 3, 4, 8, 8, generator=Generator().manual_seed(0))
    x[0, 0] = 2.0
    x[0, 1] = 1 + 0.01 * x[0, 2]
    level = standardise_pieces(x)
    assert level.mean(dim=(2, 3, 4)).abs().max() < 1e-5
    spread = level.square().mean(dim=(2, 3, 4)).sqrt()
    assert spread[0, 0] == 0
    assert spread[0, 1] < 0.2
    assert torch.allclose(spread[1], torch.ones(3))


def textures(num: int, side: int, grain: int, tint: float) -> ClipBatch:
    """Noise with grains of several pixels, lit by a gradient of red and green across the image."""
    generator = Generator().manual_seed(0)
    coarse = torch.rand(num, 3, side // grain, side // grain, generator=generator)
    image = F.interpolate(coarse, size=(side, side)).permute(0, 2, 3, 1)
    fall = torch.linspace(0, 1, side)
    light = tint * torch.stack([fall[:, None].expand(side, side), fall.expand(side, side)], dim=-1)
    image = 0.3 + 0.4 * image
    image[..., :2] += light
    return clips_of(image[:, None].expand(-1, 2, -1, -1, -1))


def by_edges(x_BNCHW: Tensor) -> Tensor:
    """(B,): the order, of all 24, for which the edges of a 2 x 2 puzzle match best."""
    misfits = []
    for order in permutations(range(4)):
        place = {cell: piece for piece, cell in enumerate(order)}
        a, b, c, d = (x_BNCHW[:, place[cell]] for cell in range(4))
        upright = (a[..., -1] - b[..., 0]).square() + (c[..., -1] - d[..., 0]).square()
        level = (a[..., -1, :] - c[..., 0, :]).square() + (b[..., -1, :] - d[..., 0, :]).square()
        misfits.append(upright.mean(dim=(1, 2)) + level.mean(dim=(1, 2)))
    return torch.stack(misfits).argmin(dim=0)


@pytest.mark.parametrize("gap", [0.0, 0.25])
def test_edges_reveal_the_order_only_without_a_gap(gap: float) -> None:
    num = 200
    cells = Cells(rows=2, columns=2, gap=gap)
    view = View(Stream.RGB, Time(frames=1), WEAK, cells=cells)
    built = build_view(view, textures(num, side=64, grain=4, tint=0.0), view_settings(size=64))
    accuracy = (by_edges(built.pixels[:, :, :, 0]) == built.applied.order_B).float().mean()
    assert accuracy > 0.4 if gap == 0 else accuracy < chance_limit(1 / 24, num)


@pytest.mark.parametrize("level", [False, True])
def test_shades_reveal_the_order_unless_standardised(
    monkeypatch: pytest.MonkeyPatch, level: bool
) -> None:
    num = 400
    if not level:
        monkeypatch.setattr(build_module, "standardise_pieces", lambda x: x)
    cells = Cells(rows=2, columns=2, orders=4)
    view = View(Stream.RGB, Time(frames=1), WEAK, cells=cells)
    built = build_view(view, textures(num, side=32, grain=4, tint=0.3), view_settings(size=32))
    moments = [built.pixels.mean(dim=(3, 4, 5)), built.pixels.square().mean(dim=(3, 4, 5))]
    accuracy = linear_accuracy(
        torch.cat([m.flatten(1) for m in moments], dim=1), built.applied.order_B
    )
    assert accuracy < chance_limit(1 / 4, num // 2) if level else accuracy > 0.6


@pytest.mark.parametrize("jitters", [False, True])
def test_each_piece_has_its_own_jitter(jitters: bool) -> None:
    """The clip is the same image four times, so without a jitter the pieces are equal."""
    cells = Cells(rows=2, columns=2, gap=0.0)
    view = View(Stream.RGB, Time(frames=1), CLEAN, cells=cells, jitter_frames=jitters)
    tile = textures(1, side=16, grain=2, tint=0.0).frames_BLHWC / 255
    first, *others = build_view(
        view, clips_of(tile.repeat(1, 1, 2, 2, 1)), view_settings(size=32)
    ).pixels[0]
    assert all(torch.allclose(first, other, atol=0.02) != jitters for other in others)


@pytest.mark.parametrize("channels", ["luma", "random"])
def test_rgb_can_repeat_one_channel(channels: str) -> None:
    clips = textures(60, side=16, grain=2, tint=0.3)
    time = Time(frames=2)
    plain = build_view(View(Stream.RGB, time, WEAK), clips, view_settings(size=16)).pixels
    shown = build_view(
        View(Stream.RGB, time, WEAK, channels=channels), clips, view_settings(size=16)
    ).pixels
    assert torch.equal(shown, shown[:, :1].expand_as(shown))
    if channels == "luma":
        gray = build_view(View(Stream.GRAY, time, WEAK), clips, view_settings(size=16)).pixels
        assert torch.equal(shown[:, :1], gray)
        image = plain.transpose(1, 2) * PIXEL_SD + PIXEL_MEAN
        assert torch.allclose(luma(image).transpose(1, 2), gray * PIXEL_SD + PIXEL_MEAN, atol=1e-5)
    else:
        error_B3 = (plain - shown).abs().amax(dim=(2, 3, 4))
        assert (error_B3.amin(dim=1) == 0).all()
        assert set(error_B3.argmin(dim=1).tolist()) == {0, 1, 2}


def test_channels_affect_only_rgb_and_crops_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    crop = build_module.crop_frames
    monkeypatch.setattr(build_module, "crop_frames", lambda *a: calls.append(a) or crop(*a))
    time = Time(frames=2)
    views = [View(s, time, WEAK, cells=SQUARE) for s in (Stream.RGB, Stream.GRAY, Stream.FLOW)]
    views += [View(Stream.RGB, time, WEAK, cells=SQUARE, channels="random")]
    build_views(views, textures(2, 32, 2, 0.0), view_settings(size=32), seed=0, step=0)
    assert len(calls) == 4, "one crop per cell, shared by all streams"
    gray = View(Stream.GRAY, time, WEAK)
    other = View(Stream.GRAY, time, WEAK, channels="random")
    clips = textures(2, 32, 2, 0.2)
    assert torch.equal(
        build_view(gray, clips, view_settings(size=32)).pixels,
        build_view(other, clips, view_settings(size=32)).pixels,
    )


def test_sound_pieces_come_in_the_applied_order() -> None:
    view = View(Stream.AUDIO, Time(frames=8), WEAK, cells=Cells(times=4))
    built = build_view(view, gliding_tone(timed_clips(batch=40)), view_settings(size=32))
    pitch_BN = pitch(built.pixels[:, :, 0, 0])
    assert torch.equal(pitch_BN.argsort(dim=1).argsort(dim=1), built.applied.permutation_BN)
    torch.testing.assert_close(built.pixels.mean(dim=(2, 3, 4, 5)), torch.zeros(40, 4))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(Stream.RGB, cells=Cells(times=3)), "splits 8 frames into 3 segments"),
        (
            View(Stream.RGB, cells=Cells(rows=4, columns=3)),
            "cells of 4 pixels.*raise clip.size to 32",
        ),
        (View(Stream.FLOW, cells=Cells(times=8)), "flow needs two"),
        (View(Stream.RGB, Time(frames=32), cells=Cells(times=2)), "needs a stretch of 44 frames"),
        (View(Stream.RGB, Time(hole=3, window=10)), "takes 8 frames"),
    ],
)
def test_an_impossible_puzzle_is_refused_by_name(view: View, message: str) -> None:
    with pytest.raises(UserError, match=f"^jigsaw.rgb: view 'clip' .*{message}"):
        check_fits(view, view_settings(size=16), 32, 12.0, "jigsaw.rgb: view 'clip'")
