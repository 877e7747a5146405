"""Masks: the number of blocks, their frames, and that pixels agree with `Applied`."""

import pytest
import torch

from evossl.errors import UserError
from evossl.types import Stream
from evossl.views.build import build_views
from evossl.views.shapes import check_fits
from evossl.views.spec import WEAK, Mask, Time, View
from tests.helpers.view_clips import build_view, noise_clips, view_settings


@pytest.mark.parametrize("tube", [True, False])
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.6, 1.0])
def test_each_slice_masks_its_ratio_and_tubes_repeat_it(tube, ratio) -> None:
    plain = View(Stream.RGB, space=WEAK, time=Time(frames=7))
    masked = View(Stream.RGB, space=WEAK, time=Time(frames=7), mask=Mask(ratio, 4, tube))
    built = build_views([plain, masked], noise_clips(), view_settings(), seed=0, step=0)
    mask = built[masked.input_key].applied.mask_BTHW
    assert mask.shape == (6, 4, 4, 4)
    assert (mask.sum(dim=(2, 3)) == round(16 * ratio)).all()
    steady = (mask == mask[:, :1]).all()
    assert bool(steady) == (tube or ratio in (0, 1))
    if 0 < ratio < 1:
        assert len({tuple(row.flatten().tolist()) for row in mask}) == 6, (
            "each sample has its own mask"
        )
    before, after = built[plain.input_key].pixels, built[masked.input_key].pixels
    for b, c, t, y, x in torch.cartesian_prod(
        *(torch.arange(n) for n in (6, 3, 7, 16, 16))
    ).tolist()[::29]:
        is_masked = mask[b, t // 2, y // 4, x // 4]
        assert after[b, c, t, y, x] == (0 if is_masked else before[b, c, t, y, x])


def test_sound_is_masked_in_bands_and_columns() -> None:
    view = View(Stream.AUDIO, space=WEAK, mask=Mask(0.5))
    built = build_view(view, noise_clips(), view_settings())
    assert built.applied.mask_BTHW.shape == (6, 1, 3, 8)
    assert ((built.pixels == 0).float().mean(dim=(1, 2, 3, 4)) - 0.5).abs().max() < 0.01


def test_pieces_have_their_own_masks() -> None:
    view = View(Stream.RGB, space=WEAK, time=Time(segments=2), pieces=2, mask=Mask(0.5, 4))
    built = build_view(view, noise_clips(), view_settings())
    mask = built.applied.mask_BTHW
    assert mask.shape == (6, 2, 2, 4, 4)
    assert not torch.equal(mask[:, 0], mask[:, 1])
    is_masked = mask.repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    assert torch.equal(built.pixels[:, :, 0] == 0, is_masked)


def test_blocks_must_divide_the_input() -> None:
    view = View(Stream.RGB, mask=Mask(0.5, patch=5))
    with pytest.raises(UserError, match=r"masked.rgb masks blocks of 5 in an input of 16 x 16"):
        check_fits(view, view_settings(), 32, 12.0, "masked.rgb")


@pytest.mark.parametrize(("ratio", "num_masked"), [(0.01, 0), (0.99, 16)])
def test_a_ratio_must_mask_some_blocks_but_not_all(ratio, num_masked) -> None:
    view = View(Stream.RGB, mask=Mask(ratio, patch=4))
    with pytest.raises(UserError, match=rf"masked.rgb masks {num_masked} of 16 blocks: choose a"):
        check_fits(view, view_settings(), 24, 12.0, "masked.rgb")
