"""Views that several tasks ask for: which moments, which pixels, how many.

Shapes: B clip, N piece.
"""

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import Stream
from evossl.views.recipes import LOCAL_CROP_AREA, local_crop_side, local_crop_views, strong_clips
from evossl.views.shapes import check_fits
from evossl.views.spec import STRONG, Time, View
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real

INPUT = hand.SHAPES[Stream.RGB].input


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_rho_clips_differ_in_time_and_crop(rho: int) -> None:
    batch = real.build_batch(strong_clips(Stream.RGB, rho), real.moving_bar())
    starts_BN = torch.stack([view.applied.start_B for view in batch.views.values()], dim=1)
    crops_B4 = [view.applied.crop_B4 for view in batch.views.values()]
    assert starts_BN.shape[1] == rho
    assert all((starts_BN[:, 0] != starts_BN[:, i]).any() for i in range(1, rho))
    assert all(not torch.equal(crops_B4[0], crop) for crop in crops_B4[1:])


def test_rho_1_gives_two_crops_of_one_clip() -> None:
    batch = real.build_batch(strong_clips(Stream.RGB, 1), real.moving_bar(num=6))
    first, second = (batch[name].applied for name in ("0", "1"))
    assert torch.equal(first.start_B, second.start_B)
    assert not torch.equal(first.crop_B4, second.crop_B4)


def test_rho_2_gives_the_views_of_simclr() -> None:
    assert strong_clips(Stream.RGB, 2) == hand.build(Term("simclr", Place((Stream.RGB,)))).views


@pytest.mark.parametrize("rho", [0, 5, 1.5])
def test_other_values_of_rho_are_refused(rho: int) -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        strong_clips(Stream.RGB, rho)


def test_local_crops_are_small_and_independent() -> None:
    view = local_crop_views(Stream.RGB, INPUT, 3)["local"]
    check_fits(view, real.SETTINGS, 32, real.FPS, "local")
    batch = real.build_batch({"local": view}, real.moving_bar())["local"]
    assert batch.pixels.shape == (24, 3, 3, hand.FRAMES, hand.SIZE // 2, hand.SIZE // 2)
    area_BN = batch.applied.crop_B4[..., 2] * batch.applied.crop_B4[..., 3]
    low, high = LOCAL_CROP_AREA
    assert ((area_BN > low - 0.01) & (area_BN < high + 0.01)).all()
    assert (batch.applied.start_B[:, 0] != batch.applied.start_B[:, 1]).any()


def test_local_crops_lie_inside_their_outer_view() -> None:
    outer = View(Stream.RGB, Time(stride=2), STRONG)
    view = local_crop_views(Stream.RGB, INPUT, 3, Time(frames=4), outer)["local"]
    batch = real.build_batch({"outer": outer, "local": view}, real.moving_bar())
    inner, around = batch["local"].applied, batch["outer"].applied
    begins_B1, last_B1 = around.start_B[:, None], around.start_B[:, None] + 2 * hand.FRAMES
    assert ((inner.start_B >= begins_B1) & (inner.start_B + 4 <= last_B1)).all()
    corner_BN2, corner_B12 = inner.crop_B4[..., :2], around.crop_B4[:, None, :2]
    assert (corner_BN2 >= corner_B12 - 1e-5).all()
    end_BN2 = corner_BN2 + inner.crop_B4[..., 2:]
    assert (end_BN2 <= corner_B12 + around.crop_B4[:, None, 2:] + 1e-5).all()


def test_no_local_crops_for_sound_or_a_count_of_zero() -> None:
    assert local_crop_views(Stream.AUDIO, hand.SHAPES[Stream.AUDIO].input, 4) == {}
    assert local_crop_views(Stream.RGB, INPUT, 0) == {}
    with pytest.raises(ValueError, match="0 or more"):
        local_crop_views(Stream.RGB, INPUT, -1)


@pytest.mark.parametrize(("side", "small"), [(8, 8), (16, 8), (32, 16), (64, 32), (112, 56)])
def test_local_side_is_half_rounded_to_eight(side: int, small: int) -> None:
    assert local_crop_side(side) == small
