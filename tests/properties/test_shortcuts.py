"""No linear classifier predicts a pretext label from brightness, loudness, lenses or jumps.

Each test also shows that the classifier succeeds where the shortcut is left open.

Shapes: B clip, N piece, C channel, T frame, H height, W width.
"""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from evossl.task import Place, Term, ViewOutput
from evossl.types import AUDIO_RATE, ClipBatch, Stream
from evossl.views import build as module
from evossl.views.spec import Time, View
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.shortcut_readers import chance_limit, linear_accuracy

NUM, LENGTH, SIDE, GRAIN = 300, 24, 32, 4
FRINGE = 1  # pixels at the border
IMAGES = [Stream.RGB, Stream.GRAY]
PUZZLES = [("jigsaw", "cells", Stream.RGB), ("cubic_puzzles", "space", Stream.RGB)]
PUZZLES += [("cubic_puzzles", "time", Stream.GRAY), ("order_multiclass", "pieces", Stream.RGB)]
PUZZLES += [("order_multiclass", "pieces", Stream.AUDIO)]


@cache
def textures() -> ClipBatch:
    """Return still noise textures, lit from the upper left, that get brighter over time."""
    generator = Generator().manual_seed(0)
    coarse = torch.rand(NUM, 3, SIDE // GRAIN, SIDE // GRAIN, generator=generator)
    grains = F.interpolate(coarse, scale_factor=GRAIN).permute(0, 2, 3, 1) * 0.2 + 0.4
    ways = torch.randint(GRAIN, (NUM, 2), generator=generator).tolist()
    image = torch.stack([x.roll(way, dims=(0, 1)) for x, way in zip(grains, ways, strict=True)])
    fall = torch.linspace(0.15, -0.15, SIDE)
    light = fall[:, None] + fall + torch.linspace(-0.1, 0.1, LENGTH)[:, None, None]
    frames = image[:, None] + light[..., None]
    return replace(
        real.moving_bar(num=NUM, length=LENGTH, speed=0),
        frames_BLHWC=(frames * 255).byte().contiguous(),
        size_B2=torch.full((NUM, 2), SIDE),
    )


def still() -> ClipBatch:
    """Return the textures with the first frame repeated."""
    clips = textures()
    frames = clips.frames_BLHWC[:, :1].expand_as(clips.frames_BLHWC)
    return replace(clips, frames_BLHWC=frames.contiguous())


@cache
def drifting() -> ClipBatch:
    """Return noise textures that drift by 1 or 2 pixels per frame in a random direction."""
    generator = Generator().manual_seed(1)
    coarse = torch.rand(NUM, 1, SIDE // GRAIN, SIDE // GRAIN, generator=generator)
    grains = F.interpolate(coarse, scale_factor=GRAIN, mode="bilinear")[:, 0]
    pace = torch.randint(1, 3, (NUM, 2), generator=generator)
    way = torch.randint(0, 2, (NUM, 2), generator=generator) * 2 - 1
    frames = torch.stack(
        [
            torch.stack([x.roll((step * t).tolist(), dims=(0, 1)) for t in range(LENGTH)])
            for x, step in zip(grains, pace * way, strict=True)
        ]
    )
    clips = replace(
        real.moving_bar(num=NUM, length=LENGTH, speed=0),
        frames_BLHWC=(frames * 255).byte()[..., None].expand(-1, -1, -1, -1, 3).contiguous(),
        size_B2=torch.full((NUM, 2), SIDE),
    )
    return replace(clips, waveform_BS=melody(clips.waveform_BS.shape[1], generator))


def melody(length: int, generator: Generator) -> Tensor:
    """Return (NUM, length): noisy notes of 1.5 frames each over four octaves."""
    note = round(1.5 / real.FPS * AUDIO_RATE)
    octave = 4 * torch.rand(NUM, length // note + 2, generator=generator)
    begun = torch.randint(note, (NUM, 1), generator=generator)
    hertz = 400 * 2 ** octave.gather(1, (torch.arange(length) + begun) // note)
    tone = 0.3 * torch.sin(2 * math.pi * (hertz.double() / AUDIO_RATE).cumsum(dim=1)).float()
    return tone + 0.05 * torch.randn(NUM, length, generator=generator)


def fringed() -> ClipBatch:
    """Return still textures seen through a lens that magnifies red more than blue."""
    frames = textures().frames_BLHWC[:, 0].permute(0, 3, 1, 2).float()
    middle = (SIDE - 2 * FRINGE, SIDE - 2 * FRINGE)
    green = frames[:, 1:2]
    red = F.interpolate(green[..., FRINGE:-FRINGE, FRINGE:-FRINGE], (SIDE, SIDE), mode="bilinear")
    blue = F.pad(F.interpolate(green, middle, mode="bilinear"), [FRINGE] * 4, mode="replicate")
    image = torch.cat([red, green, blue], dim=1).permute(0, 2, 3, 1)
    return replace(
        textures(),
        frames_BLHWC=image[:, None].expand(-1, LENGTH, -1, -1, -1).byte().contiguous(),
    )


def changes(x: Tensor, stream: Stream) -> Tensor:
    """Return (B, K): the change from step to step; of flow, the magnitude of each step."""
    if stream is Stream.AUDIO:
        return x.diff(dim=-1).abs().mean(dim=(1, 2, 3))
    if stream is Stream.FLOW:
        return x.abs().mean(dim=(1, 3, 4))
    return x.diff(dim=2).abs().mean(dim=(1, 3, 4))


def moments(x_BNCTHW: Tensor) -> Tensor:
    """Return each piece's mean, deviation and mean changes in time and space, per channel."""
    rest = (3, 4, 5)
    steps = [x_BNCTHW.diff(dim=axis).abs().mean(dim=rest) for axis in rest]
    of_all = torch.stack([x_BNCTHW.mean(dim=rest), x_BNCTHW.std(dim=rest), *steps])
    return of_all.nan_to_num().movedim(0, -1)  # sound has one row


def shown(view: View, clips: ClipBatch) -> ViewOutput:
    return real.build_batch({"view": view}, clips)["view"]


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(("task", "name", "stream"), PUZZLES)
def test_brightness_does_not_reveal_positions(
    monkeypatch: pytest.MonkeyPatch, task: str, name: str, stream: Stream, is_open: bool
) -> None:
    if is_open:
        monkeypatch.setattr(module, "standardise_pieces", lambda x: x)
    view = real.build(task, stream).views[name]
    if view.cells.times == 1:
        view = replace(view, time=Time(frames=2))  # the rest would show the same
    made = shown(view, textures())
    of_pieces = moments(made.pixels)
    beside_others = (of_pieces - of_pieces.mean(dim=1, keepdim=True)).flatten(0, 1)
    accuracy = linear_accuracy(beside_others, made.applied.permutation_BN.flatten())
    chance = chance_limit(1 / view.num_pieces, len(beside_others) // 2)
    assert accuracy > 1.5 * chance if is_open else accuracy < chance


@pytest.mark.parametrize("is_open", [False, True])
def test_chromatic_aberration_does_not_reveal_positions(is_open: bool) -> None:
    """Red is displaced outwards from blue, more so farther from the centre."""
    view = real.build("jigsaw", Stream.RGB).views["cells"]
    made = shown(replace(view, channels="all") if is_open else view, fringed())
    red, green, blue = made.pixels.unbind(dim=2)
    apart_BN = torch.stack(
        [
            ((red - blue)[..., 1:-1, 1:-1] * slope).mean(dim=(2, 3, 4))
            for slope in (
                green[..., 1:-1, 2:] - green[..., 1:-1, :-2],
                green[..., 2:, 1:-1] - green[..., :-2, 1:-1],
            )
        ],
        dim=-1,
    )
    accuracy = linear_accuracy(apart_BN.flatten(0, 1), made.applied.permutation_BN.flatten())
    chance = chance_limit(1 / view.num_pieces, apart_BN.shape[0] * view.num_pieces // 2)
    assert accuracy > 2 * chance if is_open else accuracy < chance


@pytest.mark.parametrize("task", ["jigsaw", "cubic_puzzles", "order_multiclass"])
def test_rgb_puzzles_show_one_channel_and_leave_gaps(task: str) -> None:
    """The tests above and those of views show which shortcuts this prevents."""
    for view in real.build(task, Stream.RGB).views.values():
        assert view.channels == "random"
        assert view.cells.gap >= 0.2


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("stream", IMAGES)
def test_brightness_does_not_reveal_shuffling(stream: Stream, is_open: bool) -> None:
    view = real.build("order_binary", stream).views["clip"]
    made = shown(replace(view, jitter_frames=not is_open), textures())
    light_BT = made.pixels.mean(dim=(1, 3, 4))
    accuracy = linear_accuracy(light_BT.diff(dim=1).abs(), made.applied.shuffled_B)
    chance = chance_limit(1 / 2, NUM // 2)
    assert accuracy > 0.95 if is_open else accuracy < chance


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("stream", list(Stream))
def test_jumps_do_not_reveal_shuffling(stream: Stream, is_open: bool) -> None:
    view = real.build("order_binary", stream).views["clip"]
    if is_open:
        view = replace(view, time=replace(view.time, gap=0.0), jitter_frames=False)
    made = shown(view, drifting())
    accuracy = linear_accuracy(changes(made.pixels, stream), made.applied.shuffled_B)
    chance = chance_limit(1 / 2, NUM // 2)
    assert accuracy > chance + 0.1 if is_open and stream is not Stream.FLOW else accuracy < chance


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("stream", IMAGES)
def test_brightness_hardly_reveals_direction(stream: Stream, is_open: bool) -> None:
    """Jitter leaves a weak cue: 0.67 +- 0.03 over 24 seeds, where chance is 0.5."""
    view = real.build("arrow_of_time", stream).views["clip"]
    made = shown(replace(view, jitter_frames=not is_open), textures())
    accuracy = linear_accuracy(made.pixels.mean(dim=(1, 3, 4)), made.applied.reversed_B)
    assert accuracy > 0.95 if is_open else accuracy < 0.8


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("stream", IMAGES)
def test_short_videos_do_not_reveal_the_speed(stream: Stream, is_open: bool) -> None:
    """Short videos are dark, as if from another camera, and too short for a long stride."""
    view = hand.build(Term("tempo", Place((stream,), variant="speed"))).views["clip"]
    clips = still()
    is_short_B = torch.arange(NUM) % 2 == 0
    dark = (clips.frames_BLHWC * 0.5).byte()
    clips = replace(
        clips,
        frames_BLHWC=torch.where(is_short_B[:, None, None, None, None], dark, clips.frames_BLHWC),
        num_frames_B=torch.where(is_short_B, hand.FRAMES, LENGTH),
    )
    if is_open:
        view = replace(view, within=None)
    made = module.build_views([view], clips, real.SETTINGS, seed=0, step=0)[view.input_key]
    stride_B = made.applied.stride_B[made.valid_B] - 1
    accuracy = linear_accuracy(moments(made.pixels[made.valid_B][:, None]), stride_B)
    chance = chance_limit(1 / 3, len(stride_B) // 2)
    assert accuracy > chance + 0.1 if is_open else accuracy < chance


@pytest.mark.parametrize("stream", IMAGES)
def test_still_clips_do_not_reveal_the_speed(stream: Stream) -> None:
    """There is no shortcut to leave open: without motion, all strides look the same."""
    view = hand.build(Term("tempo", Place((stream,), variant="speed"))).views["clip"]
    made = shown(view, still())
    accuracy = linear_accuracy(moments(made.pixels[:, None]), made.applied.stride_B - 1)
    assert accuracy < chance_limit(1 / 3, NUM // 2)
