"""Preprocessing: middle frames at the config's rate, scaled, cropped and normalised."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder
from evossl.export.preprocess import InputFormat, preprocess_frames
from evossl.models.encoder import build_encoder
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, View

CPU = torch.device("cpu")
CLIP = InputFormat(frames=4, size=8, fps=10.0, short_side=8, mean=(0.45,) * 3, std=(0.225,) * 3)


@pytest.fixture(scope="module")
def encoder(space: SearchSpace) -> VideoEncoder:
    network = build_encoder(Stream.RGB, space.backbone, seed=0)
    return VideoEncoder(network, EncoderConfig.from_space(space, network)).eval()


def noise(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def numbered(length: int, side: int = 8) -> Tensor:
    """Frame i is of gray level i."""
    return torch.arange(length, dtype=torch.uint8).view(-1, 1, 1, 1).expand(length, side, side, 3)


def gray_levels(pixels: Tensor) -> list[int]:
    """The gray level of each frame of the first clip."""
    return [round(level) for level in ((pixels[0, 0, :, 0, 0] * 0.225 + 0.45) * 255).tolist()]


@pytest.mark.parametrize(("height", "width"), [(80, 80), (80, 107), (120, 80), (91, 80)])
def test_preprocessing_equals_the_clean_view_of_cached_frames(
    height: int, width: int, encoder: VideoEncoder, space: SearchSpace
) -> None:
    """80 is the cache's short side; with 8 frames, the view can only start at the first."""
    frames = noise(2, 8, height, width, 3)
    clips = ClipBatch(
        frames_BLHWC=frames,
        num_frames_B=torch.full((2,), 8),
        size_B2=torch.tensor([[height, width]] * 2),
        waveform_BS=torch.zeros(2, 16000 * 8 // 12),
        has_audio_B=torch.zeros(2, dtype=torch.bool),
        video_id_B=torch.arange(2),
        fps=space.cache.fps,
    )
    view = View(Stream.RGB, space=CLEAN)
    inputs = build_views((view,), clips, ViewSettings.from_space(space), seed=0, step=0)
    wanted = inputs[view.input_key].pixels
    torch.testing.assert_close(encoder.preprocess(frames), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (160, 90), (40, 60)])
def test_raw_frames_are_scaled_like_torchs_antialiased_resize(
    height: int, width: int, encoder: VideoEncoder
) -> None:
    """Scaling to 80 and then to 32 pixels differs from scaling at once only by rounding."""
    frames = F.interpolate(noise(8, 3, 6, 8).float(), size=(height, width), mode="bicubic")
    frames = frames.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side].permute(3, 0, 1, 2).float() / 255
    wanted = F.interpolate(square, size=(32, 32), mode="bilinear", antialias=True)
    wanted = (wanted - 0.45) / 0.225
    got = encoder.preprocess(frames)
    assert got.shape == (1, 3, 8, 32, 32)
    assert (got[0] - wanted).abs().mean() < 0.05


def test_frames_are_scaled_to_the_short_side_as_by_pillow() -> None:
    """Noise scaled to a third of its size differs by at most one gray level, without bias."""
    frames = noise(4, 24, 36, 3)
    got = (preprocess_frames(frames, None, CLIP, CPU)[0] * 0.225 + 0.45) * 255
    small = [Image.fromarray(f.numpy()).resize((12, 8), Image.Resampling.BILINEAR) for f in frames]
    wanted = torch.from_numpy(np.stack([np.asarray(f)[:, 2:10] for f in small])).permute(3, 0, 1, 2)
    difference = got - wanted
    assert difference.abs().max() <= 1.01
    assert difference.mean().abs() < 0.1


def test_a_clip_a_batch_numpy_and_torch_give_the_same_result(encoder: VideoEncoder) -> None:
    frames = noise(2, 9, 50, 70, 3)
    batch = encoder.preprocess(frames)
    assert batch.shape == (2, 3, 8, 32, 32)
    assert batch.dtype == torch.float32
    assert torch.equal(encoder.preprocess(frames.numpy()), batch)
    torch.testing.assert_close(encoder.preprocess(frames[1]), batch[1:])
    assert encoder(batch).shape == (2, 256)


def test_pixels_are_normalised_by_the_configs_mean_and_std() -> None:
    black, white = torch.zeros(4, 8, 8, 3, dtype=torch.uint8), noise(4, 8, 8, 3).fill_(255)
    clean = InputFormat(4, 8, 10.0, 8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    low, high = (preprocess_frames(x, None, clean, CPU)[0, :, 0, 0, 0] for x in (black, white))
    torch.testing.assert_close(low, torch.tensor([-0.2, -0.8, -1.5]))
    torch.testing.assert_close(high, torch.tensor([1.8, 3.2, 3.5]))


def test_frames_are_taken_from_the_middle() -> None:
    assert gray_levels(preprocess_frames(numbered(4), None, CLIP, CPU)) == [0, 1, 2, 3]
    assert gray_levels(preprocess_frames(numbered(10), None, CLIP, CPU)) == [3, 4, 5, 6]


def test_a_short_video_repeats_its_last_frame() -> None:
    assert gray_levels(preprocess_frames(numbered(2), None, CLIP, CPU)) == [0, 1, 1, 1]
    assert gray_levels(preprocess_frames(numbered(1), 30.0, CLIP, CPU)) == [0, 0, 0, 0]


def test_other_frame_rates_are_resampled_to_the_configs() -> None:
    assert gray_levels(preprocess_frames(numbered(12), 30.0, CLIP, CPU)) == [0, 3, 6, 9]
    assert gray_levels(preprocess_frames(numbered(8), 20.0, CLIP, CPU)) == [0, 2, 4, 6]
    # Grid 0, .1, .2, .3, .4, .5 s of frames at 0, .2, .4 s: 0 0 1 1 2 2 (ties early), the middle.
    assert gray_levels(preprocess_frames(numbered(3), 5.0, CLIP, CPU)) == [0, 1, 1, 2]


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 60), fps=st.floats(1, 120))
def test_frames_are_ordered_evenly_spaced_and_central(length: int, fps: float) -> None:
    """Frame k is within half a source frame of k / 10 s after the first one."""
    levels = gray_levels(preprocess_frames(numbered(length), fps, CLIP, CPU))
    assert levels == sorted(levels)
    assert levels[0] >= 0
    assert levels[-1] <= length - 1
    if length / fps >= 0.5:  # long enough for 4 frames at 10 Hz
        for k, level in enumerate(levels):
            assert abs((level - levels[0]) / fps - k / CLIP.fps) <= 1 / fps + 2e-3
        centre = (levels[0] + levels[-1] + fps / CLIP.fps) / 2
        assert abs(centre - length / 2) <= fps / CLIP.fps + 1


@pytest.mark.parametrize(
    ("frames", "fps", "said"),
    [
        (torch.zeros(4, 8, 8, 3), None, "takes uint8 RGB frames"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), None, "takes uint8 RGB frames"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), None, "takes uint8 RGB frames"),
        (torch.zeros(0, 8, 8, 3, dtype=torch.uint8), None, "given no frame"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), 0.0, "fps is 0.0"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), float("nan"), "fps is nan"),
    ],
)
def test_frames_of_a_wrong_type_shape_or_rate_are_refused(
    frames: Tensor, fps: float | None, said: str, encoder: VideoEncoder
) -> None:
    with pytest.raises(UserError, match=said):
        encoder.preprocess(frames, fps)


def test_the_given_frames_are_not_changed(encoder: VideoEncoder) -> None:
    frames = noise(8, 80, 90, 3).numpy()
    before = frames.copy()
    encoder.preprocess(frames)
    assert np.array_equal(frames, before)


def test_a_list_of_frames_equals_their_array(encoder: VideoEncoder) -> None:
    frames = noise(12, 20, 24, 3).numpy()
    torch.testing.assert_close(
        encoder.preprocess(list(frames), fps=25), encoder.preprocess(frames, fps=25), rtol=0, atol=0
    )


def test_a_list_is_stacked_before_torch_sees_it(
    encoder: VideoEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, as_tensor = [], torch.as_tensor

    def spy(data: object, *args: object, **kwargs: object) -> Tensor:
        given.append(type(data))
        return as_tensor(data, *args, **kwargs)

    monkeypatch.setattr("evossl.export.encoder_folder.torch.as_tensor", spy)
    encoder.preprocess(list(noise(12, 20, 24, 3).numpy()), fps=25)
    assert list not in given
