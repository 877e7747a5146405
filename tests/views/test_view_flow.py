"""Flow compared with known motion and OpenCV's DIS, and its symmetries."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from evossl.types import Stream
from evossl.views import flow as flow_module
from evossl.views.build import FLOW_PIXELS_PER_UNIT, build_views
from evossl.views.flow import clip_flow
from evossl.views.spec import CLEAN, STRONG, Space, Time, View
from tests.helpers.moving_textures import Array, Motion, image_pair, rotation, translation, zoom
from tests.helpers.view_clips import build_view, noise_clips, view_settings

SIZE = 64
ANGLES = np.arange(12) * 2.4
MOTIONS: dict[str, Callable[[int], list[Motion]]] = {
    **{
        f"{r} pixels": lambda _, r=r: [translation(r * np.cos(a), r * np.sin(a)) for a in ANGLES]
        for r in (0.5, 1.0, 2.0, 3.0, 4.0)
    },
    "rotation": lambda size: [rotation(by, size) for by in (-8, -7, -5, -4, -2, 2, 3, 5, 6, 8)],
    "zoom": lambda size: [zoom(by, size) for by in (0.9, 0.92, 0.95, 0.97, 1.03, 1.05, 1.08, 1.1)],
}


def bytes_of(image: Array) -> Array:
    return np.round(image * 255).astype(np.uint8)


def tensor_of(images: list[Array]) -> Tensor:
    return torch.tensor(np.stack([bytes_of(image) for image in images])).float()[:, None] / 255


def pair_flow(first_P1HW: Tensor, second_P1HW: Tensor) -> Tensor:
    return clip_flow(torch.stack([first_P1HW, second_P1HW], dim=1))[:, 0]


def error(flow: Array, truth: Array) -> float:
    """Mean end-point error in pixels."""
    return float(np.hypot(*np.moveaxis(flow - truth, 1, 0)).mean())


@pytest.mark.parametrize("size", [SIZE, 80])  # 80 is the size that `make bench` times
@pytest.mark.parametrize("motion", MOTIONS)
def test_end_point_error_is_at_most_1_3_times_that_of_dis(motion: str, size: int) -> None:
    first, second, truth = zip(
        *(image_pair(17 * i, m, size) for i, m in enumerate(MOTIONS[motion](size))), strict=True
    )
    ours = pair_flow(tensor_of(first), tensor_of(second)).numpy()
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    theirs = [
        dis.calc(bytes_of(a), bytes_of(b), None).transpose(2, 0, 1)
        for a, b in zip(first, second, strict=True)
    ]
    truths = np.stack(truth)
    assert error(ours, truths) <= 1.3 * error(np.stack(theirs), truths)
    assert error(ours, truths) < 0.15, "pixels"


def test_identical_frames_have_zero_flow() -> None:
    still = torch.rand(1, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert clip_flow(still.expand(2, 4, 1, 32, 32)).abs().max() == 0
    flat = torch.full((1, 3, 1, 32, 32), 0.3)
    assert clip_flow(flat).abs().max() == 0


def test_a_static_background_has_almost_no_flow() -> None:
    still, _, _ = image_pair(1, translation(0, 0), SIZE)
    first, second, _ = image_pair(2, translation(3, 0), SIZE)
    y, x = np.mgrid[:SIZE, :SIZE]
    before, after = (np.hypot(y - 32, x - middle) < 12 for middle in (30, 33))
    flow = pair_flow(
        tensor_of([np.where(before, first, still)]), tensor_of([np.where(after, second, still)])
    )[0].numpy()
    distance = np.hypot(y - 32, x - 31.5)
    speed = np.hypot(*flow)
    assert speed[distance > 22].mean() < 0.1
    assert speed[(distance > 16) & (distance < 22)].mean() < 0.3, "at most a tenth of the motion"
    assert abs(flow[0][np.hypot(y - 32, x - 30) < 7].mean() - 3) < 0.4


def test_a_brightness_change_is_not_motion() -> None:
    first, second, truth = image_pair(5, translation(1.5, -1.0), SIZE)
    same, darker = (pair_flow(tensor_of([first]), tensor_of([b])) for b in (second, second * 0.95))
    assert error(darker.numpy(), truth[None]) < 0.15
    assert (same - darker).abs().mean() < 0.15


def test_mirroring_a_clip_mirrors_its_flow() -> None:
    first, second, _ = image_pair(3, translation(1.3, 0.7), SIZE)
    clip = torch.stack([tensor_of([first])[0], tensor_of([second])[0]])[None]
    sign = torch.tensor([-1.0, 1.0])[:, None, None]
    mirrored = clip_flow(clip.flip(-1))
    torch.testing.assert_close(mirrored, clip_flow(clip).flip(-1) * sign, atol=2e-3, rtol=0)
    upside_down = clip_flow(clip.flip(-2))
    torch.testing.assert_close(upside_down, clip_flow(clip).flip(-2) * -sign, atol=2e-3, rtol=0)


def test_the_last_flow_field_is_repeated() -> None:
    clip = torch.rand(2, 5, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    flow = clip_flow(clip)
    assert flow.shape == (2, 5, 2, 24, 24)
    assert torch.equal(flow[:, 3], flow[:, 4])
    torch.testing.assert_close(flow[:, 1], pair_flow(clip[:, 1], clip[:, 2]), atol=1e-4, rtol=0)


def moving_clips(velocity: tuple[float, float]):
    """Two equal clips of a texture that moves by `velocity` pixels (right, down) per frame."""
    clips = noise_clips(batch=2, length=10)
    frames = np.stack(
        [image_pair(0, translation(t * velocity[0], t * velocity[1]), 40)[1] for t in range(10)]
    )
    video = torch.tensor(bytes_of(frames))[None, :, :, :, None].expand(2, 10, 40, 40, 3)
    size = torch.tensor([[40, 40], [40, 40]])
    return type(clips)(**{**vars(clips), "frames_BLHWC": video.contiguous(), "size_B2": size})


def test_flow_is_in_pixels_of_the_view_right_and_down() -> None:
    view = View(Stream.FLOW, space=Space("clean", size=60))
    built = build_view(view, moving_clips((1.0, -0.5)), view_settings())
    middle = built.pixels[..., 15:45, 15:45].mean(dim=(0, 2, 3, 4)) * FLOW_PIXELS_PER_UNIT
    torch.testing.assert_close(middle, torch.tensor([1.5, -0.75]), atol=0.1, rtol=0)


def test_flow_follows_stride_reversal_and_flip() -> None:
    clips = moving_clips((0.5, 0.25))
    base = View(Stream.FLOW, space=Space("clean", size=40))
    views = {
        "slow": base,
        "fast": View(Stream.FLOW, space=base.space, time=Time(frames=4, stride=2)),
        "back": View(Stream.FLOW, space=base.space, time=Time(reverse=1.0)),
    }
    built = build_views(views.values(), clips, view_settings(), seed=0, step=0)
    mean = {
        name: built[v.input_key].pixels[..., 8:-8, 8:-8].mean(dim=(0, 2, 3, 4))
        * FLOW_PIXELS_PER_UNIT
        for name, v in views.items()
    }
    torch.testing.assert_close(mean["slow"], torch.tensor([0.5, 0.25]), atol=0.06, rtol=0)
    torch.testing.assert_close(mean["fast"], 2 * mean["slow"], atol=0.06, rtol=0)
    torch.testing.assert_close(mean["back"], -mean["slow"], atol=0.06, rtol=0)
    strong = View(Stream.FLOW, space=STRONG)
    for step in range(4):
        flipped = build_view(strong, clips, view_settings("flip", size=40), seed=0, step=step)
        mean_B = flipped.pixels[:, 0, :, 8:-8, 8:-8].mean(dim=(1, 2, 3))
        assert torch.equal(mean_B < 0, flipped.applied.flipped_B)


def test_flow_is_unaffected_by_colour_jitter() -> None:
    view = View(Stream.FLOW)
    plain, coloured = (
        build_view(view, noise_clips(), view_settings("crop", *extra)).pixels
        for extra in ((), ("colour",))
    )
    assert torch.equal(plain, coloured)


def test_flow_does_not_cross_segments() -> None:
    time = Time(segments=2, shuffle=0.5)
    whole, apart = (
        View(Stream.FLOW, time=time, space=CLEAN),
        View(Stream.FLOW, time=time, space=CLEAN, pieces=2),
    )
    built = build_views([whole, apart], noise_clips(), view_settings(), seed=0, step=0)
    joined, pieces = built[whole.input_key].pixels, built[apart.input_key].pixels
    assert torch.equal(pieces.transpose(1, 2).flatten(2, 3), joined)
    assert torch.equal(pieces[:, :, :, 3], pieces[:, :, :, 2])


@pytest.mark.parametrize("frames", [2, 3, 5, 7, 12])
def test_flow_does_not_depend_on_the_chunk_size(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = torch.rand(3, 5, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    whole = clip_flow(clip)
    monkeypatch.setattr(flow_module, "MAX_CHUNK_PIXELS", frames * 24 * 24)
    torch.testing.assert_close(clip_flow(clip), whole, atol=1e-4, rtol=0)
