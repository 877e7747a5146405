import numpy as np
import pytest
import torch

from evossl.evaluation.features import (
    calibrate,
    calibration_batches,
    clean_clips,
    extract_features,
    untrained_copy,
)
from evossl.views.build import PIXEL_MEAN, PIXEL_SD
from tests.helpers.painted_videos import FRAMES, SIZE, PaintedClips


def counting(length: int) -> np.ndarray:
    """Return a video whose frame t has the value 10 t everywhere."""
    return (
        np.full((length, SIZE, SIZE, 3), 10, np.uint8)
        * np.arange(length, dtype=np.uint8)[:, None, None, None]
    )


def frame_numbers(x: torch.Tensor) -> list[list[int]]:
    """Return the numbers of the frames in inputs made from `counting` videos."""
    value = (x.mean(dim=(1, 3, 4)) * PIXEL_SD + PIXEL_MEAN) * 255 / 10
    return value.round().int().tolist()


def test_clips_are_evenly_spaced_in_order(make_encoder) -> None:
    """16 frames, 4 per clip: three clips start at 1/6, 3/6 and 5/6 of the last start, 12."""
    clips = PaintedClips([counting(16)]).clips([0], 0)
    got = [frame_numbers(x)[0] for x in clean_clips(clips, make_encoder().config, 3)]
    assert got == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]
    assert [frame_numbers(x)[0] for x in clean_clips(clips, make_encoder().config, 1)] == [
        [6, 7, 8, 9]
    ]


def test_padding_is_never_shown(make_encoder) -> None:
    clips = PaintedClips([counting(3), counting(16), counting(6)]).clips([0, 1, 2], 0)
    got = [frame_numbers(x) for x in clean_clips(clips, make_encoder().config, 2)]
    assert [rows[0] for rows in got] == [[0, 1, 2, 2]] * 2
    assert [rows[2] for rows in got] == [[1, 2, 3, 4], [2, 3, 4, 5]]  # 2 x 1/4, 2 x 3/4, to even up


def test_features_are_the_mean_over_preprocessed_clips(bars, make_encoder) -> None:
    loader, _ = bars
    encoder = make_encoder()
    got_ND = extract_features(encoder, loader, [5, 2])
    starts = [1, 4, 7]  # 12 frames: 8 x 1/6, 3/6, 5/6 rounded
    for row, video in enumerate((5, 2)):
        frames = [loader.videos[video][start : start + FRAMES] for start in starts]
        with torch.no_grad():
            given = torch.stack([encoder(encoder.preprocess(clip))[0] for clip in frames])
        np.testing.assert_allclose(got_ND[row], given.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_features_do_not_depend_on_the_batch(bars, make_encoder) -> None:
    loader, _ = bars
    encoder = make_encoder().train()
    every_ND = extract_features(encoder, loader, range(20))
    assert encoder.training
    few_ND = extract_features(encoder, loader, [19, 3])
    np.testing.assert_allclose(few_ND, every_ND[[19, 3]], rtol=1e-4, atol=1e-5)


def test_an_untrained_copy_depends_on_its_seed_alone(bars, make_encoder) -> None:
    loader, _ = bars
    encoder = make_encoder()
    before = torch.random.get_rng_state()
    first, again, other = (
        untrained_copy(encoder, loader, range(48), seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    features = [extract_features(e, loader, range(8)) for e in (first, again, other)]
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.01
    norm = next(m for m in first.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert norm.running_mean.abs().max() > 0


def test_calibration_sets_the_moments_of_clean_clips(bars, make_encoder) -> None:
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
    ("count", "limit", "rows"), [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (1, 1, [0])]
)
def test_calibration_covers_both_ends(make_encoder, monkeypatch, count, limit, rows) -> None:
    monkeypatch.setattr("evossl.evaluation.features.MAX_CALIBRATION_VIDEOS", limit)
    videos = [np.full((FRAMES, SIZE, SIZE, 3), 10 * i, np.uint8) for i in range(count)]
    config, device = make_encoder().config, torch.device("cpu")
    batches = calibration_batches(config, PaintedClips(videos), range(count), device)
    assert [number[0] for x in batches for number in frame_numbers(x)] == rows
