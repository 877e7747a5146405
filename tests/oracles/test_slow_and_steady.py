"""The oracle of examples/tasks: docs/adding-a-task.md shows its first test."""

import math
from dataclasses import replace

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import PIXEL_MEAN, PIXEL_SD, Stream
from evossl.views.build import build_views
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("slow_and_steady", Place((Stream.RGB,)))
CLIPS = ("first", "second", "third")


@pytest.mark.parametrize("edge", EDGES)
def test_loss_equals_its_formula(edge: str) -> None:
    case, batch = checks.build_edge_case(RGB, edge, steady=0.5, margin=0.8)
    projected = (naive.rows(case.task.projector(x_BD)) for x_BD in batch.embeddings(*CLIPS))
    a, b, c = (torch.tensor([naive.to_unit(row) for row in rows]).double() for rows in projected)
    slow, steady = naive.max_margin_loss(a, b, 0.8), naive.max_margin_loss(b - a, c - b, 0.8)
    assert math.isclose(case.task.loss(batch).item(), slow + 0.5 * steady, rel_tol=1e-5)


def test_collapsed_clips_cost_both_margins() -> None:
    case = hand.build(RGB, steady=0.5, margin=0.8)
    batch = hand.make_batch(case.views, scale=0.0)
    assert math.isclose(case.task.loss(batch).item(), 0.8 + 0.5 * 0.8, rel_tol=1e-5)


def test_clips_are_consecutive_with_independent_crops() -> None:
    """Every pixel of frame t has brightness 8 t, which no crop changes."""
    case, clips = hand.build(RGB), real.moving_bar(num=4)
    length = clips.frames_BLHWC.shape[1]
    gray_L = (8 * torch.arange(length)).to(torch.uint8)
    clips = replace(clips, frames_BLHWC=gray_L[:, None, None, None].expand_as(clips.frames_BLHWC))
    settings = replace(real.SETTINGS, ignores=("crop", "time"))
    made = build_views(case.views.values(), clips, settings, seed=0, step=0)
    shown = [made[case.views[name].input_key] for name in CLIPS]
    light_BT = torch.cat([clip.pixels.mean(dim=(1, 3, 4)) for clip in shown], dim=1)
    frame_BT = (light_BT * PIXEL_SD + PIXEL_MEAN) * 255 / 8
    assert frame_BT.shape == (4, 3 * hand.FRAMES)
    torch.testing.assert_close(frame_BT.diff(dim=1), torch.ones(4, 23), atol=0.05, rtol=0)
    crops = [clip.applied.crop_B4 for clip in shown]
    assert all(not torch.equal(crops[i], crops[j]) for i, j in ((0, 1), (1, 2), (0, 2)))


def test_margin_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="margin must be greater than 0, got 0"):
        hand.build(RGB, margin=0.0)
