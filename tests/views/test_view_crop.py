"""Crops compared with torchvision and `interpolate`, sample by sample."""

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as tv

from evossl.types import Stream
from evossl.views.build import PIXEL_MEAN, PIXEL_SD, build_views
from evossl.views.crop import SpacePlan, blur_matrix, crop_frames, resize_matrix
from evossl.views.spec import CLEAN, WEAK, Space, View
from tests.helpers.view_clips import build_view, noise_clips, view_settings


def plan(boxes: list[tuple[int, int, int, int]], size: int, flipped: list[bool]) -> SpacePlan:
    return SpacePlan(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(flipped),
        torch.zeros(len(boxes)),
        size,
    )


def test_crop_flip_and_resize_match_torchvision() -> None:
    """Boxes larger and smaller than the view, the whole frame, margins of one pixel, padding."""
    clips = noise_clips()
    boxes = [
        (0, 0, 30, 40),
        (3, 5, 20, 11),
        (1, 1, 22, 38),
        (0, 0, 8, 9),
        (10, 2, 30, 26),
        (5, 6, 7, 20),
    ]
    flipped = [False, True, False, True, True, False]
    index = torch.tensor([[0, 3, 3, 19]]).repeat(6, 1)
    ours = crop_frames(clips.frames_BLHWC, index, plan(boxes, 16, flipped), None)
    for b, (box, flip) in enumerate(zip(boxes, flipped, strict=True)):
        frames = clips.frames_BLHWC[b, index[b]].permute(0, 3, 1, 2).float() / 255
        theirs = tv.resized_crop(frames, *box, [16, 16], antialias=True)
        theirs = tv.horizontal_flip(theirs) if flip else theirs
        torch.testing.assert_close(ours[b], theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("length", "out"), [(80, 64), (107, 64), (30, 64), (64, 64), (65, 8)])
def test_resize_matrix_matches_antialiased_interpolation(length, out) -> None:
    image = torch.rand(1, 1, length, 5, generator=torch.Generator().manual_seed(0))
    theirs = F.interpolate(image, (out, 5), mode="bilinear", antialias=True)[0, 0]
    matrix = resize_matrix(torch.zeros(1), torch.tensor([float(length)]), length, out)[0]
    torch.testing.assert_close(matrix @ image[0, 0], theirs, atol=1e-5, rtol=0)


def test_fractional_boxes_use_only_pixels_inside() -> None:
    start = torch.tensor([0.0, 2.3, 10.51, 0.9])
    extent = torch.tensor([20.0, 2.0, 9.48, 13.05])
    matrix = resize_matrix(start, extent, 20, 7)
    torch.testing.assert_close(matrix.sum(2), torch.ones(4, 7))
    middle = torch.arange(20) + 0.5
    outside = (middle < start[:, None]) | (middle > (start + extent)[:, None])
    assert (matrix.transpose(1, 2)[outside] == 0).all()
    # When a ramp is enlarged, its values are the sampling positions.
    ramp = resize_matrix(torch.tensor([2.3]), torch.tensor([10.0]), 20, 20)[0] @ middle
    torch.testing.assert_close(ramp[2:-2], (2.3 + (torch.arange(20) + 0.5) / 2)[2:-2])


def test_blur_matches_torchvision_inside_the_border() -> None:
    image = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.7, 0.0])
    matrix = blur_matrix(sigma, 24)
    ours = matrix[:, None] @ image @ matrix[:, None].transpose(2, 3)
    theirs = tv.gaussian_blur(image[:1], [13, 13], [0.7, 0.7])
    torch.testing.assert_close(ours[0, :, 6:-6, 6:-6], theirs[0, :, 6:-6, 6:-6], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], image[1])


def test_crops_are_blurred_along_both_axes() -> None:
    frames, index = noise_clips().frames_BLHWC[:1], torch.tensor([[0, 4]])
    sharp = SpacePlan(torch.tensor([[1.0, 2, 24, 30]]), torch.tensor([True]), torch.zeros(1), 24)
    soft = SpacePlan(sharp.box_B4, sharp.flipped_B, torch.tensor([0.8]), 24)
    ours = crop_frames(frames, index, soft, None)[0]
    theirs = tv.gaussian_blur(crop_frames(frames, index, sharp, None)[0], [13, 13], [0.8, 0.8])
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(ours[inner], theirs[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["strong", "weak", "clean"])
def test_padding_never_reaches_a_view(kind) -> None:
    views = [View(s, space=Space(kind)) for s in (Stream.RGB, Stream.GRAY, Stream.FLOW)]
    settings = view_settings("crop", "flip", "noise", "colour")
    black, white = (
        build_views(views, noise_clips(pad=p), settings, seed=0, step=0) for p in (0, 255)
    )
    for view in views:
        assert torch.equal(black[view.input_key].pixels, white[view.input_key].pixels)


def test_applied_boxes_locate_the_pixels() -> None:
    """The crop is redone by `grid_sample` from `Applied` alone, on a smooth image."""
    clips = noise_clips()
    coarse = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, (40, 40), mode="bicubic").clamp(0, 1)
    frames = (smooth * 255).byte().permute(0, 2, 3, 1)[:, None].expand(-1, 20, -1, -1, -1)
    clips = type(clips)(**{**vars(clips), "frames_BLHWC": frames.contiguous()})
    view = View(Stream.RGB, space=Space("strong", size=24))
    built = build_view(view, clips, view_settings("crop", "flip"), seed=1, step=0)
    for b, (height, width) in enumerate(clips.size_B2.tolist()):
        top, left, tall, wide = built.applied.crop_B4[b].tolist()
        y = top * height + (torch.arange(24) + 0.5) * tall * height / 24
        x = left * width + (torch.arange(24) + 0.5) * wide * width / 24
        x = x.flip(0) if built.applied.flipped_B[b] else x
        grid = torch.stack([(x / 20 - 1).expand(24, 24), (y / 20 - 1)[:, None].expand(24, 24)], 2)
        image = frames[b, :1].permute(0, 3, 1, 2).float() / 255
        theirs = F.grid_sample(image, grid[None], align_corners=False, padding_mode="border")[0]
        ours = built.pixels[b, :, 0] * PIXEL_SD + PIXEL_MEAN
        assert (ours - theirs).abs()[:, 1:-1, 1:-1].max() < 0.02
    assert built.applied.flipped_B.any()
    assert not built.applied.flipped_B.all()


def test_each_kind_of_space_crops_as_documented() -> None:
    clips, settings = noise_clips(batch=600, length=1), view_settings("crop", frames=1, size=4)
    kinds = {"strong": Space(), "weak": WEAK, "clean": CLEAN, "own": Space("weak", (0.05, 0.1))}
    size_B2 = clips.size_B2.float()
    box, area = {}, {}
    for name, space in kinds.items():
        view = View(Stream.RGB, space=space)
        applied = build_view(view, clips, settings).applied
        assert not applied.flipped_B.any(), "`flip` is not in `ignores`"
        box[name] = applied.crop_B4 * size_B2.repeat(1, 2)
        area[name] = applied.crop_B4[:, 2] * applied.crop_B4[:, 3]
        ends = applied.crop_B4[:, :2] + applied.crop_B4[:, 2:]
        assert (applied.crop_B4 >= 0).all()
        assert (ends <= 1 + 1e-6).all()
    short = size_B2.amin(1)
    torch.testing.assert_close(box["clean"][:, 2:], short[:, None].expand(-1, 2))
    torch.testing.assert_close(box["clean"][:, :2], (size_B2 - short[:, None]) / 2)
    side = box["weak"][:, 2] / short
    torch.testing.assert_close(box["weak"][:, 2], box["weak"][:, 3])
    assert 0.9 <= side.min() < 0.92
    assert 0.98 < side.max() <= 1
    aspect = box["strong"][:, 3] / box["strong"][:, 2]
    assert 0.74 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.34
    assert 0.3 <= area["strong"].min() < 0.33
    assert area["strong"].max() > 0.85
    assert 0.045 < area["own"].min() < 0.055
    assert 0.095 < area["own"].max() < 0.101


def test_an_inner_crop_lies_inside_the_outer_crop() -> None:
    clips, settings = noise_clips(batch=200, length=8), view_settings("crop", "time", size=4)
    outer = View(Stream.RGB, draw=1)
    inner = View(Stream.RGB, space=Space("strong", (0.05, 0.6)), draw=2, within=outer)
    built = build_views([outer, inner], clips, settings, seed=0, step=0)
    out, inn = (built[view.input_key].applied.crop_B4 for view in (outer, inner))
    assert (inn[:, :2] >= out[:, :2] - 1e-6).all()
    assert (inn[:, :2] + inn[:, 2:] <= out[:, :2] + out[:, 2:] + 1e-6).all()
    assert (inn[:, 2:] < out[:, 2:] - 0.01).any(dim=1).float().mean() > 0.5


def test_jittered_frames_shift_independently_by_one_pixel() -> None:
    clips = noise_clips(batch=6, length=8)
    still = View(Stream.RGB, space=WEAK)
    moving = View(Stream.RGB, space=WEAK, jitter_frames=True)
    whole = View(Stream.FLOW, space=WEAK), View(Stream.FLOW, space=WEAK, jitter_frames=True)
    built = build_views([still, moving, *whole], clips, view_settings(), seed=0, step=0)
    one, other = (
        built[v].pixels * PIXEL_SD + PIXEL_MEAN for v in (still.input_key, moving.input_key)
    )
    shifts = []
    for b in range(6):
        for t in range(8):
            like = {
                (dy, dx): _likeness(torch.roll(one[b, :, t], (dy, dx), (1, 2)), other[b, :, t])
                for dy in (-2, -1, 0, 1, 2)
                for dx in (-2, -1, 0, 1, 2)
            }
            shifts.append(max(like, key=like.__getitem__))
    assert set(shifts) == {(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert torch.equal(built[whole[0].input_key].pixels, built[whole[1].input_key].pixels)


def _likeness(a: torch.Tensor, b: torch.Tensor) -> float:
    """Correlation of the luma of two images away from the border; colour jitter keeps it high."""
    inner = torch.stack([x.mean(0)[2:-2, 2:-2].flatten() for x in (a, b)])
    return float(torch.corrcoef(inner)[0, 1])
