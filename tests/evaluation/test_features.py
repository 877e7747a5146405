import numpy as np
import pytest
import torch

from evossl.evaluation.features import calibrate, clean_clips, extract_features, random_init, spread
from evossl.views.build import PIXEL_MEAN, PIXEL_SD
from tests.helpers.painted_videos import FRAMES, SIZE, Painted


def counting(length: int) -> np.ndarray:
    """Frame t has the value 10 t everywhere."""
    return (
        np.full((length, SIZE, SIZE, 3), 10, np.uint8)
        * np.arange(length, dtype=np.uint8)[:, None, None, None]
    )


def shown(x: torch.Tensor) -> list[list[int]]:
    """The frames' numbers in inputs of counting videos."""
    value = (x.mean(dim=(1, 3, 4)) * PIXEL_SD + PIXEL_MEAN) * 255 / 10
    return value.round().int().tolist()


def test_clips_are_spread_over_the_video_in_order(make_encoder) -> None:
    """16 frames, 4 a clip: 13 places, three clips start at 1/6, 3/6, 5/6 of the last (12)."""
    clips = Painted([counting(16)]).clips([0], 0)
    got = [shown(x)[0] for x in clean_clips(clips, make_encoder().config, 3)]
    assert got == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]
    assert [shown(x)[0] for x in clean_clips(clips, make_encoder().config, 1)] == [[6, 7, 8, 9]]


def test_padding_is_never_shown(make_encoder) -> None:
    clips = Painted([counting(3), counting(16), counting(6)]).clips([0, 1, 2], 0)
    got = [shown(x) for x in clean_clips(clips, make_encoder().config, 2)]
    assert [rows[0] for rows in got] == [[0, 1, 2, 2]] * 2
    assert [rows[2] for rows in got] == [[1, 2, 3, 4], [2, 3, 4, 5]]  # 2 x 1/4, 2 x 3/4, to even up


def test_features_are_the_mean_of_what_preprocess_and_forward_give(bars, make_encoder) -> None:
    loader, _ = bars
    encoder = make_encoder()
    got_ND = extract_features(encoder, loader, [5, 2])
    starts = [1, 4, 7]  # 12 frames: 8 x 1/6, 3/6, 5/6 rounded
    for row, video in enumerate((5, 2)):
        frames = [loader.videos[video][start : start + FRAMES] for start in starts]
        with torch.no_grad():
            given = torch.stack([encoder(encoder.preprocess(clip))[0] for clip in frames])
        np.testing.assert_allclose(got_ND[row], given.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_features_do_not_depend_on_the_batch_and_modes_are_left_as_found(
    bars, make_encoder
) -> None:
    loader, _ = bars
    encoder = make_encoder().train()
    every_ND = extract_features(encoder, loader, range(20))
    assert encoder.training
    few_ND = extract_features(encoder, loader, [19, 3])
    np.testing.assert_allclose(few_ND, every_ND[[19, 3]], rtol=1e-4, atol=1e-5)


def test_random_init_is_a_function_of_the_seed_and_calibrated(bars, make_encoder) -> None:
    loader, _ = bars
    config = make_encoder().config
    before = torch.random.get_rng_state()
    first, again, other = (
        random_init(config, loader, range(48), seed=seed, device=torch.device("cpu"))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    features = [extract_features(e, loader, range(8)) for e in (first, again, other)]
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.01
    norm = next(m for m in first.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert norm.running_mean.abs().max() > 0


def test_calibration_gives_the_moments_of_clean_clips(bars, make_encoder) -> None:
    loader, _ = bars
    encoder = make_encoder()
    calibrate(encoder, loader, range(20))
    first = next(m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm3d))
    seen = []
    handle = first.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        for row in range(20):
            encoder(next(clean_clips(loader.clips([row], 0), encoder.config, 1)))
    handle.remove()
    expected = torch.cat(seen).double().mean(dim=(0, 2, 3, 4))
    torch.testing.assert_close(first.running_mean.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "most", "rows"), [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (1, 1, [0])]
)
def test_a_spread_covers_both_ends(count, most, rows) -> None:
    assert spread(count, most) == rows
