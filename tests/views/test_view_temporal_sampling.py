"""Temporal sampling, checked on frames whose gray level encodes their time."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from evossl.errors import UserError
from evossl.types import Stream
from evossl.views.build import PIXEL_MEAN, PIXEL_SD, build_views
from evossl.views.shapes import check_fits, required_frames
from evossl.views.spec import CLEAN, STRONG, WEAK, Role, Space, Time, View, ViewInput
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, plan_time
from tests.helpers.view_clips import LEVEL, build_view, noise_clips, timed_clips, view_settings

CPU = torch.device("cpu")


def seen_frames(built: ViewInput) -> Tensor:
    """(B, T): numbers of the frames in the order shown, read from the pixels."""
    value = (built.pixels.mean(dim=(-4, -2, -1)) * PIXEL_SD + PIXEL_MEAN) * 255 / LEVEL
    assert torch.allclose(value, value.round(), atol=1e-3)
    return value.round().long()


def planned(view: View, clips, settings) -> TimePlan:
    """The time plan that `build_views` applies."""
    return plan_time(view, clips, settings, StepRNG(0, 0, CPU), None)


def expected_frames(built: ViewInput, time: Time, frames: int = 8) -> list[list[int]]:
    """The frames that `Applied` describes, computed in plain loops."""
    applied, rows = built.applied, []
    for b in range(len(applied.start_B)):
        stride = int(applied.stride_B[b])
        part = frames // time.segments
        left_out = round(part * time.gap / (1 - time.gap))
        steps = [
            time.offset + i + i // part * left_out + (time.hole if 2 * i >= frames else 0)
            for i in range(frames)
        ]
        taken = [int(applied.start_B[b]) + step * stride for step in steps]
        if applied.reversed_B[b]:
            taken.reverse()
        order = applied.permutation_BN[b].tolist()
        rows.append([f for segment in order for f in taken[segment * part : (segment + 1) * part]])
    return rows


@pytest.mark.parametrize(
    "time",
    [
        Time(),
        Time(frames=4, stride=3),
        Time(stride=(1, 2, 3)),
        Time(frames=6, offset=2, window=9),
        Time(frames=6, offset=1, hole=3, stride=2),
        Time(frames=6, hole=2, reverse=0.5),
        Time(reverse=0.5),
        Time(segments=4, shuffle=0.5),
        Time(segments=4, shuffle=0.5, gap=0.5),
        Time(reverse=0.5, segments=2, shuffle=0.7, gap=0.2, stride=2),
        Time(reverse=0.5, segments=2, shuffle=0.7, stride=2),
        Time(shift=0.5),
        Time(reverse=0.5, segments=4, shuffle=0.5, shift=0.5, stride=(1, 2)),
    ],
)
def test_applied_describes_the_frames_shown(time) -> None:
    view = View(Stream.RGB, time=time, space=WEAK)
    built = build_view(view, timed_clips(length=40), view_settings())
    frames = time.frames or 8
    assert seen_frames(built).tolist() == expected_frames(built, time, frames)
    assert built.valid_B.all()


def test_windows_are_uniform_inside_the_stretch() -> None:
    view = View(Stream.RGB, time=Time(stride=2), space=WEAK)
    starts = planned(view, timed_clips(batch=3000, length=20), view_settings()).start_B
    counts = torch.bincount(starts, minlength=5)
    assert len(counts) == 5, "a window of 16 frames has 5 places in 20"
    assert ((counts - 600).abs() < 5 * (600 * 0.8) ** 0.5).all(), "5 sigma of the binomial"


@pytest.mark.parametrize("segments", [2, 3, 4])
def test_shuffles_exclude_identity_and_reversed_order(segments) -> None:
    time = Time(frames=12, segments=segments, shuffle=0.6)
    applied = build_view(
        View(Stream.RGB, time=time, space=CLEAN),
        timed_clips(2000, length=12),
        view_settings(size=2),
    ).applied
    identity, backwards = tuple(range(segments)), tuple(reversed(range(segments)))
    allowed = set(permutations(range(segments))) - {identity}
    allowed -= {backwards} if segments > 2 else set()
    shuffled = applied.permutation_BN[applied.shuffled_B].tolist()
    counts = {p: shuffled.count(list(p)) for p in allowed}
    assert sum(counts.values()) == len(shuffled), "only allowed orders occur"
    mean = len(shuffled) / len(allowed)
    assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values())
    assert (applied.permutation_BN[~applied.shuffled_B] == torch.tensor(identity)).all()
    assert abs(applied.shuffled_B.float().mean() - 0.6) < 0.06


def test_a_shift_moves_the_window_by_half_or_more() -> None:
    clips, weak = timed_clips(batch=500), view_settings()
    still = planned(View(Stream.RGB, space=WEAK), clips, weak)
    view = View(Stream.AUDIO, time=Time(shift=0.5), space=WEAK)
    moved = planned(view, clips, weak)
    away = (moved.start_B - still.start_B).abs()
    assert (away[moved.shifted_B] >= 4).all()
    assert (away[~moved.shifted_B] == 0).all()
    assert 0.4 < moved.shifted_B.float().mean() < 0.6
    assert moved.start_B.min() == 0
    assert moved.start_B.max() == 24


def test_reversal_shuffle_and_shift_are_independent() -> None:
    time = Time(reverse=0.5, segments=4, shuffle=0.5, shift=0.5)
    plan = planned(
        View(Stream.RGB, time=time, space=WEAK), timed_clips(batch=2000), view_settings()
    )
    labels = torch.stack([plan.reversed_B, plan.shuffled_B, plan.shifted_B]).float()
    correlation = torch.corrcoef(torch.cat([labels, plan.start_B[None].float()])) - torch.eye(4)
    assert correlation.abs().max() < 5 / 2000**0.5


def test_required_frames_is_where_samples_become_valid() -> None:
    """Tried on every length; a shift must be possible wherever the time draw puts the window."""
    lengths = torch.arange(1, 41).repeat_interleave(20)
    clips = timed_clips(batch=len(lengths), length=40, lengths=lengths)
    for time in (Time(), Time(stride=3), Time(offset=3), Time(shift=0.5), Time(frames=5, shift=1)):
        view = View(Stream.RGB, time=time, space=WEAK)
        built = build_view(view, clips, view_settings(size=2))
        assert (built.valid_B == (lengths >= required_frames(view, view_settings()))).all(), time
    assert required_frames(View(Stream.RGB, time=Time(shift=0.5)), view_settings()) == 15


def test_a_short_stretch_is_invalid_and_repeats_a_frame() -> None:
    clips = timed_clips(batch=2, lengths=torch.tensor([5, 8]))
    built = build_view(View(Stream.RGB, space=WEAK), clips, view_settings())
    assert built.valid_B.tolist() == [False, True]
    assert seen_frames(built).tolist() == [[0, 1, 2, 3, 4, 4, 4, 4], [0, 1, 2, 3, 4, 5, 6, 7]]


def test_a_stride_too_long_falls_back_to_the_largest_fit() -> None:
    lengths = torch.tensor([8, 16, 23, 24, 32]).repeat_interleave(40)
    clips = timed_clips(batch=200, lengths=lengths)
    built = build_view(
        View(Stream.RGB, time=Time(stride=(3, 1, 2)), space=WEAK), clips, view_settings(size=2)
    )
    drawn = built.applied.stride_B.view(5, 40)
    seen = [sorted(set(row)) for row in drawn.tolist()]
    assert seen == [[1], [1, 2], [1, 2], [1, 2, 3], [1, 2, 3]]
    assert built.valid_B.all()
    assert (drawn[1] == 2).sum() > (drawn[4] == 2).sum(), "samples that drew a stride of 3 use 2"


def test_equal_time_draws_share_their_window() -> None:
    clips = timed_clips(batch=200)
    views = [
        View(Stream.RGB, draw=1),
        View(Stream.FLOW, time_draw=1, space_draw=5, space=WEAK),
        View(Stream.AUDIO, time_draw=1),
        View(Stream.GRAY, time=Time(reverse=0.5, segments=2, shuffle=0.5), draw=1),
        View(Stream.RGB, draw=2),
    ]
    built = build_views(views, clips, view_settings("time", "crop", size=8), seed=3, step=1)
    starts = [built[view.input_key].applied.start_B for view in views]
    assert all(torch.equal(starts[0], other) for other in starts[1:4])
    correlation = torch.corrcoef(torch.stack([starts[0], starts[4]]).float())[0, 1]
    assert abs(correlation) < 5 / 200**0.5


def test_past_and_future_of_a_window_are_consecutive() -> None:
    clips = timed_clips()
    past = View(Stream.RGB, time=Time(frames=5, window=8), space=WEAK)
    future = View(Stream.RGB, time=Time(frames=3, offset=5), space=WEAK, encoder=Role.NONE)
    built = build_views([past, future], clips, view_settings(), seed=0, step=0)
    shown = torch.cat([seen_frames(built[v.input_key]) for v in (past, future)], dim=1)
    assert (shown == shown[:, :1] + torch.arange(8)).all()


@pytest.mark.parametrize(("before", "after"), [(4, 4), (3, 2)])
def test_a_hole_separates_halves_and_flow_does_not_cross_it(before: int, after: int) -> None:
    window = before + 3 + after
    whole = Time(frames=before + after, hole=3)
    first, hole = Time(frames=before, window=window), Time(frames=3, offset=before, window=window)
    last = Time(frames=after, offset=before + 3, window=window)
    views = [View(Stream.FLOW, time, WEAK) for time in (whole, first, last)]
    built = build_views(
        [*views, View(Stream.FLOW, hole, WEAK)], noise_clips(), view_settings(), seed=0, step=0
    )
    both = torch.cat([built[view.input_key].pixels for view in views[1:]], dim=2)
    assert torch.allclose(built[views[0].input_key].pixels, both, atol=1e-5)
    starts = [m.applied.start_B for m in built.values()]
    assert all(torch.equal(starts[0], start) for start in starts[1:])


def test_strong_views_share_their_time_unless_ignored() -> None:
    clips, views = timed_clips(batch=100), [View(Stream.RGB, draw=d) for d in (0, 3)]
    same = build_views(views, clips, view_settings("crop"), seed=0, step=0)
    other = build_views(views, clips, view_settings("crop", "time"), seed=0, step=0)
    first, second = (same[v.input_key].applied.start_B for v in views)
    assert torch.equal(first, second)
    first, second = (other[v.input_key].applied.start_B for v in views)
    assert (first != second).float().mean() > 0.8
    weak = [View(Stream.RGB, space=WEAK, draw=d) for d in (0, 3)]
    free = build_views(weak, clips, view_settings("crop"), seed=0, step=0)
    first, second = (free[v.input_key].applied.start_B for v in weak)
    assert (first != second).float().mean() > 0.8


def test_only_strong_views_of_stride_one_change_speed() -> None:
    clips, settings = timed_clips(batch=200), view_settings("speed")
    strides = {
        name: set(planned(view, clips, settings).stride_B.tolist())
        for name, view in {
            "strong": View(Stream.RGB),
            "sound": View(Stream.AUDIO),
            "slow": View(Stream.RGB, time=Time(stride=3)),
            "weak": View(Stream.RGB, space=WEAK),
        }.items()
    }
    assert strides == {"strong": {1, 2}, "sound": {1, 2}, "slow": {3}, "weak": {1}}
    fixed = planned(View(Stream.RGB), clips, view_settings()).stride_B
    assert set(fixed.tolist()) == {1}


def test_an_inner_view_lies_in_the_outer_window() -> None:
    outer = View(Stream.RGB, time=Time(stride=2, shift=0.5), space=WEAK, draw=1)
    inner = View(Stream.RGB, time=Time(frames=4, stride=(1, 4)), space=WEAK, within=outer, draw=2)
    built = build_views(
        [outer, inner], timed_clips(batch=300, length=40), view_settings(size=2), seed=0, step=0
    )
    out, inn = (built[view.input_key] for view in (outer, inner))
    offset = inn.applied.start_B - out.applied.start_B
    assert (offset >= 0).all()
    assert (offset + 4 * inn.applied.stride_B <= 16).all()
    assert set(inn.applied.stride_B.tolist()) == {1, 4}
    assert len(set(offset.tolist())) == 13, "every place for 4 frames in 16 occurs"
    assert out.valid_B.all()
    assert inn.valid_B.all()


def test_an_inner_view_is_invalid_if_its_outer_view_is() -> None:
    clips = timed_clips(batch=2, lengths=torch.tensor([10, 30]))
    outer = View(Stream.RGB, time=Time(stride=2), space=WEAK)
    inner = View(Stream.RGB, time=Time(frames=2), space=WEAK, within=outer)
    assert build_view(inner, clips, view_settings()).valid_B.tolist() == [False, True]


def test_independent_pieces_have_their_own_draws() -> None:
    clips, settings = noise_clips(), view_settings("crop", "time")
    built = build_view(View(Stream.RGB, time=Time(frames=4), draw=2, pieces=3), clips, settings)
    assert built.pixels.shape == (6, 3, 3, 4, 16, 16)
    for i in range(3):
        alone = build_view(View(Stream.RGB, time=Time(frames=4), draw=2000 + i), clips, settings)
        assert torch.equal(built.pixels[:, i], alone.pixels)
        assert torch.equal(built.applied.start_B[:, i], alone.applied.start_B)
        assert torch.equal(built.applied.crop_B4[:, i], alone.applied.crop_B4)
    assert not torch.allclose(built.applied.crop_B4[:, 0], built.applied.crop_B4[:, 1])


@pytest.mark.parametrize("stream", list(Stream))
def test_segments_as_pieces_equal_the_split_clip(stream) -> None:
    time = Time(segments=4, shuffle=0.5)
    whole = build_view(View(stream, time=time, space=WEAK), timed_clips(), view_settings())
    apart = build_view(
        View(stream, time=time, space=WEAK, pieces=4), timed_clips(), view_settings()
    )
    axis = 4 if stream == Stream.AUDIO else 2
    pieces = torch.stack(whole.pixels.chunk(4, dim=axis), dim=1)
    assert apart.pixels.shape == pieces.shape
    assert torch.equal(apart.applied.permutation_BN, whole.applied.permutation_BN)
    if stream != Stream.FLOW:  # there is no flow between pieces
        assert torch.equal(apart.pixels, pieces)


def test_time_plans_do_not_depend_on_pixels() -> None:
    clips, view = timed_clips(), View(Stream.RGB, time=Time(reverse=0.5, stride=(1, 2)), space=WEAK)
    plan = planned(view, clips, view_settings())
    built = build_view(view, clips, view_settings())
    assert torch.equal(plan.start_B, built.applied.start_B)
    assert torch.equal(plan.frame_index_BT(clips.num_frames_B), seen_frames(built))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (
            View(Stream.RGB, time=Time(stride=5)),
            "needs a stretch of 40 frames, .* clip.stretch is 32",
        ),
        (View(Stream.RGB, time=Time(stride=3, shift=0.5)), "needs a stretch of 47 frames"),
        (View(Stream.RGB, time=Time(segments=3)), "splits 8 frames into 3 segments"),
        (View(Stream.RGB, time=Time(offset=2, window=9)), "takes 8 frames from step 2"),
        (View(Stream.FLOW, time=Time(segments=8), pieces=8), "flow needs two"),
        (View(Stream.RGB, space=Space("clean", (0.1, 0.2))), "is clean but has a scale"),
        (View(Stream.RGB, time=Time(stride=2), within=View(Stream.RGB)), "outer view has 8"),
        (
            View(Stream.RGB, time=Time(frames=5, shift=1), within=View(Stream.RGB)),
            "needs 10 frames, but the window of its outer view has 8",
        ),
    ],
)
def test_an_impossible_view_is_refused_by_name(view, message) -> None:
    with pytest.raises(UserError, match=f"^order.rgb: view 'clip' .*{message}"):
        check_fits(view, view_settings(), 32, 12.0, "order.rgb: view 'clip'")


def test_views_that_fit_are_accepted() -> None:
    for view in (
        View(Stream.RGB, time=Time(stride=4)),
        View(Stream.RGB, space=STRONG, time=Time(shift=0.5, segments=4)),
        View(Stream.RGB, time=Time(frames=4), within=View(Stream.RGB)),
        View(Stream.FLOW, time=Time(segments=4), pieces=4),
    ):
        check_fits(view, view_settings("speed"), 32, 12.0, "a view")
