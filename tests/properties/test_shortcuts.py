"""Pretext labels cannot be read off light, contrast or edges: a linear reader is at chance.

Each reader is also shown to read the label where the shortcut is left open, so that it can fail.

Shapes: B clip, N piece, C channel, T frame, H height, W width.
"""

from dataclasses import replace
from functools import cache

import made_by_hand as hand
import made_by_views as real
import pytest
import torch
from shortcuts import most_by_chance, reads
from torch import Generator, Tensor
from torch.nn import functional as F

from evossl.streams import ClipBatch, Stream
from evossl.task import SeenView, Term
from evossl.views import make as module
from evossl.views.spec import Time, View

NUM, LENGTH, SIDE, GRAIN = 300, 24, 32, 4
IMAGES = [Stream.RGB, Stream.GRAY]
PUZZLES = [("jigsaw", "cells", Stream.RGB), ("cubic_puzzles", "space", Stream.RGB)]
PUZZLES += [("cubic_puzzles", "time", Stream.GRAY), ("order_multiclass", "pieces", Stream.RGB)]


@cache
def textures() -> ClipBatch:
    """Still grains of noise, anywhere, lit from the upper left, that brighten with time."""
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


def moments(x_BNCTHW: Tensor) -> Tensor:
    """Of each piece: mean, spread, and mean steps along time, rows and columns of each channel."""
    rest = (3, 4, 5)
    steps = [x_BNCTHW.diff(dim=axis).abs().mean(dim=rest) for axis in rest]
    return torch.stack([x_BNCTHW.mean(dim=rest), x_BNCTHW.std(dim=rest), *steps]).movedim(0, -1)


def shown(view: View, clips: ClipBatch) -> SeenView:
    return real.see({"view": view}, clips)["view"]


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(("task", "name", "stream"), PUZZLES)
def test_light_and_contrast_do_not_tell_where_a_piece_was(
    monkeypatch: pytest.MonkeyPatch, task: str, name: str, stream: Stream, is_open: bool
) -> None:
    if is_open:
        monkeypatch.setattr(module, "levelled", lambda x: x)
    view = real.built(task, stream).views[name]
    if view.cells.times == 1:
        view = replace(view, time=Time(frames=2))  # the rest would show the same
    made = shown(view, textures())
    of_pieces = moments(made.pixels)
    beside_others = (of_pieces - of_pieces.mean(dim=1, keepdim=True)).flatten(0, 1)
    told = reads(beside_others, made.applied.permutation_BN.flatten())
    chance = most_by_chance(1 / view.num_pieces, len(beside_others) // 2)
    assert told > 1.5 * chance if is_open else told < chance


@pytest.mark.parametrize("task", ["jigsaw", "cubic_puzzles", "order_multiclass"])
def test_puzzles_of_rgb_show_one_channel_and_leave_gaps(task: str) -> None:
    """What one channel and a gap close is tested on views."""
    for view in real.built(task, Stream.RGB).views.values():
        assert view.channels == "one"
        assert view.cells.gap >= 0.2


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("stream", IMAGES)
def test_joints_of_light_do_not_tell_that_a_clip_is_shuffled(stream: Stream, is_open: bool) -> None:
    view = real.built("order_binary", stream).views["clip"]
    made = shown(replace(view, jitter_frames=not is_open), textures())
    light_BT = made.pixels.mean(dim=(1, 3, 4))
    told = reads(light_BT.diff(dim=1).abs(), made.applied.shuffled_B)
    chance = most_by_chance(1 / 2, NUM // 2)
    assert told > 0.95 if is_open else told < chance


@pytest.mark.parametrize("stream", IMAGES)
def test_a_still_clip_does_not_tell_its_tempo(stream: Stream) -> None:
    view = hand.build(Term("tempo", (stream,), variant="speed")).views["clip"]
    clips = textures()
    still = clips.frames_BLHWC[:, :1].expand_as(clips.frames_BLHWC).contiguous()
    made = shown(view, replace(clips, frames_BLHWC=still))
    told = reads(moments(made.pixels[:, None]), made.applied.stride_B - 1)
    assert told < most_by_chance(1 / 3, NUM // 2)
