"""Frame selection, against plain loops."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evossl.data.decode.frame_selection import (
    TIE_SECONDS,
    centre_crop,
    may_be_selected,
    nearest_frames,
    scaled_size,
)

STEPS = st.lists(st.integers(20, 400), min_size=0, max_size=40)  # in ticks of 5 ms
FPS = st.sampled_from([5.0, 10.0, 12.0, 15.0, 23.976, 25.0, 30.0])


def times_of(steps: list[int], start: float = 0.0) -> np.ndarray:
    return start + np.cumsum([0, *steps]) * 0.005


@given(STEPS, FPS, st.floats(0.1, 20))
def test_no_frame_is_nearer_to_a_grid_time_than_the_chosen_one(
    steps: list[int], fps: float, max_seconds: float
) -> None:
    time = times_of(steps)
    for i, chosen in enumerate(nearest_frames(time, fps, max_seconds)):
        distance = [abs(t - i / fps) for t in time.tolist()]
        assert distance[chosen] <= min(distance) + 2 * TIE_SECONDS + 1e-9


@given(STEPS, FPS, st.floats(-50, 50))
def test_only_times_after_the_first_frame_count(steps: list[int], fps: float, at: float) -> None:
    shifted = nearest_frames(times_of(steps, round(at, 2)), fps, 9.0)
    assert np.array_equal(nearest_frames(times_of(steps), fps, 9.0), shifted)


@given(STEPS, FPS)
def test_no_selected_frame_may_be_dropped(steps: list[int], fps: float) -> None:
    time = times_of(steps).tolist()
    for index in set(nearest_frames(np.array(time), fps, math.inf).tolist()):
        if 0 < index < len(time) - 1:
            assert may_be_selected(time[index - 1], time[index], time[index + 1], fps)


def test_most_unselected_frames_may_be_dropped() -> None:
    time = np.arange(240) / 240  # at 240 fps, of which 12 a second are taken
    kept = sum(may_be_selected(*time[i - 1 : i + 2].tolist(), 12.0) for i in range(1, 239))
    assert kept <= 12


def test_the_frame_count_is_the_rounded_duration_times_rate() -> None:
    for num_frames, file_fps, fps, expected in [
        (48, 24, 12, 24),
        (50, 25, 12, 24),
        (60, 30000 / 1001, 12, 24),  # 2.002 s: 24.02
        (3, 24, 12, 2),  # 1.5 rounds up
        (1, 24, 12, 1),
    ]:
        assert len(nearest_frames(np.arange(num_frames) / file_fps, fps, 30.0)) == expected


def test_the_grid_ends_at_max_seconds() -> None:
    assert len(nearest_frames(np.arange(1000) / 25, 12.0, 2.5)) == 30


def test_a_tie_selects_the_earlier_frame_despite_rounding() -> None:
    time = np.arange(30) / 30  # at 12 fps every second grid time lies half-way
    exact = nearest_frames(time, 12.0, 30.0)
    assert exact.tolist()[:5] == [0, 2, 5, 7, 10]
    assert np.array_equal(nearest_frames(time.astype(np.float32).astype(float), 12.0, 30.0), exact)
    assert np.array_equal(nearest_frames(np.round(time, 3), 12.0, 30.0), exact)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 256))
def test_the_short_side_is_exact_and_the_aspect_kept(width: int, height: int, side: int) -> None:
    w, h = scaled_size(width, height, side)
    assert min(w, h) == side
    assert abs(max(w, h) - side * max(width, height) / min(width, height)) <= 0.5


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_crop_is_centred_and_at_most_two_to_one(height: int, width: int) -> None:
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    kept = centre_crop(frame)
    h, w = kept.shape[:2]
    assert h == min(height, 2 * width)
    assert w == min(width, 2 * height)
    for axis, (whole, part) in enumerate([(height, h), (width, w)]):
        before, after = int(kept[0, 0, axis]), whole - part - int(kept[0, 0, axis])
        assert after - before in (0, 1)
