"""Temporal sampling: which frames of the stretch a view takes, in which order. No pixels.

Shapes: B clip, K stride that may be drawn, N segment, T taken frame.
"""

from dataclasses import dataclass, replace
from math import ceil, factorial

import torch
from torch import Tensor

from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings
from evossl.views.spec import Cells, View
from evossl.views.step_rng import StepRNG

SPEED_STRIDES = (1, 2)  # drawn from by strong views when `speed` is ignored


@dataclass(frozen=True)
class TimePlan:
    """Which frames each sample of a view takes.

    Attributes:
        start_B: int64, first frame of the window. stride_B: int64, frames per step.
        longest_stride: the largest of the strides drawn from.
        window: steps of the window. frames, offset, hole: what the view takes of it, in steps.
        cell: steps from one segment's start to the next one's.
        order_BT: int64, output frame j is taken frame order[j] (reversal, then the permutation).
        reversed_B, shuffled_B, shifted_B: bool. permutation_BN: int64.
        valid_B: bool, the stretch is long enough.
    """

    start_B: Tensor
    stride_B: Tensor
    longest_stride: int
    window: int
    frames: int
    offset: int
    hole: int
    cell: int
    order_BT: Tensor
    reversed_B: Tensor
    shuffled_B: Tensor
    shifted_B: Tensor
    permutation_BN: Tensor
    valid_B: Tensor

    @property
    def span_B(self) -> Tensor:
        """Frames of the stretch that the window covers; a step lasts `stride` frames."""
        return self.window * self.stride_B

    def frame_index_BT(self, num_frames_B: Tensor) -> Tensor:
        """Return the frames of the stretch to show; a short stretch repeats its last frame."""
        late_BT = 2 * self.order_BT >= self.frames
        steps_BT = self.offset + self.spread(self.order_BT) + self.hole * late_BT
        index_BT = self.start_B[:, None] + steps_BT * self.stride_B[:, None]
        return torch.minimum(index_BT, num_frames_B[:, None] - 1)

    @property
    def extent(self) -> int:
        """Steps from the first that is taken to the last, both counted; but for a hole."""
        segments = self.permutation_BN.shape[1]
        return (segments - 1) * self.cell + self.frames // segments

    def spread(self, order_BT: Tensor, parts: int = 1) -> Tensor:
        """Return the steps at which the frames of an order stand, their segments apart.

        Args:
            order_BT: of the frames, or of `parts` of each.
            parts: of a frame, each with a number of its own.
        """
        length = self.frames // self.permutation_BN.shape[1] * parts
        return order_BT // length * (self.cell * parts) + order_BT % length


def num_view_frames(view: View, settings: ViewSettings) -> int:
    """Return T, the frames that a view takes (all its segments together)."""
    return settings.frames if view.time.frames is None else view.time.frames


def piece_and_cell_steps(view: View, cells: Cells, settings: ViewSettings) -> tuple[int, int]:
    """Return the frames of a piece and the steps of its cell, the gap among them."""
    frames = num_view_frames(view, settings) // cells.times
    return frames, _with_gap(frames, cells.gap) if cells.times > 1 else frames


def _with_gap(frames: int, gap: float) -> int:
    """Steps of which `frames` are shown and a share `gap` is left out."""
    return ceil(frames / (1 - gap))


def min_window_steps(view: View, settings: ViewSettings) -> int:
    """Return the fewest steps that hold what the view takes."""
    time, frames = view.time, num_view_frames(view, settings)
    if view.cells is not None:
        return time.offset + view.cells.times * piece_and_cell_steps(view, view.cells, settings)[1]
    length = frames // time.segments
    apart = (time.segments - 1) * (_with_gap(length, time.gap) - length)
    return time.offset + frames + apart + time.hole


def window_steps(view: View, settings: ViewSettings) -> int:
    """Return the steps that the view's window spans."""
    return min_window_steps(view, settings) if view.time.window is None else view.time.window


def strides(view: View, settings: ViewSettings) -> tuple[int, ...]:
    """Return the strides a view draws from, ascending; several, or one in a tuple, are its own."""
    stride = view.time.stride
    if stride == 1 and view.space.kind == "strong" and "speed" in settings.ignores:
        return SPEED_STRIDES
    return (stride,) if isinstance(stride, int) else tuple(sorted(set(stride)))


def resolve_strides(view: View, settings: ViewSettings) -> View:
    """Return the view with its strides written out: recipes that come to the same are equal."""
    within = None if view.within is None else resolve_strides(view.within, settings)
    return replace(view, time=replace(view.time, stride=strides(view, settings)), within=within)


def min_stretch_frames(span: int, *, shift: bool) -> int:
    """Return the frames in which a window of `span` can stand, and if `shift` always elsewhere too.

    With that many, a window anywhere leaves a place half a window away: n - span >= 2 h - 1 with
    h = ceil(span / 2). Samples with fewer are not valid, shifted or not, else the labels of those
    that are would be biased.
    """
    return span + 2 * ceil(span / 2) - 1 if shift else span


def plan_time(
    view: View, clips: ClipBatch, settings: ViewSettings, draws: StepRNG, outer: TimePlan | None
) -> TimePlan:
    """Return what `view` takes of each stretch; of the window of `outer` where there is one."""
    time, draw, batch = view.time, _time_draw(view), len(clips)
    assert view.time_draw is not None
    low_B = torch.zeros_like(clips.num_frames_B) if outer is None else outer.start_B
    room_B = clips.num_frames_B if outer is None else outer.span_B
    window, frames = window_steps(view, settings), num_view_frames(view, settings)

    stride_B = _draw_stride(strides(view, settings), window, room_B, view.time_draw, draws)
    span_B = window * stride_B
    places_B = (room_B - span_B + 1).clamp(min=1)
    u_B = draws.uniform(_placement_draw(view, settings), "start", batch)
    start_B = _pick(u_B, places_B)
    half_B = (span_B + 1) // 2
    needed_B = span_B + (2 * half_B - 1 if time.shift > 0 else 0)
    valid_B = room_B >= needed_B
    if outer is not None:
        valid_B = valid_B & outer.valid_B

    shifted_B = draws.bernoulli(draw, "shift", time.shift, batch) & valid_B
    elsewhere_B = _shift(draws.uniform(draw, "elsewhere", batch), start_B, places_B, half_B)
    start_B = low_B + torch.where(shifted_B, elsewhere_B, start_B)

    reversed_B = draws.bernoulli(draw, "reverse", time.reverse, batch)
    shuffled_B = draws.bernoulli(draw, "shuffle", time.shuffle if time.segments > 1 else 0.0, batch)
    permutation_BN = _permute(time.segments, shuffled_B, draw, draws)
    order_BT = frame_order(frames, reversed_B, permutation_BN)
    return TimePlan(
        start_B=start_B,
        stride_B=stride_B,
        longest_stride=strides(view, settings)[-1],
        window=window,
        frames=frames,
        offset=time.offset,
        hole=time.hole,
        cell=_with_gap(frames // time.segments, time.gap),
        order_BT=order_BT,
        reversed_B=reversed_B,
        shuffled_B=shuffled_B,
        shifted_B=shifted_B,
        permutation_BN=permutation_BN,
        valid_B=valid_B,
    )


def _time_draw(view: View) -> int:
    assert view.time_draw is not None
    return view.time_draw


def _placement_draw(view: View, settings: ViewSettings) -> int:
    """Strong views of one clip show the same moment unless `time` is ignored."""
    if view.space.kind == "strong" and "time" not in settings.ignores:
        return 0
    return _time_draw(view)


def _draw_stride(
    options: tuple[int, ...], window: int, room_B: Tensor, draw: int, draws: StepRNG
) -> Tensor:
    """Return int64_B: a stride drawn from `options`, or the largest whose window fits."""
    stride_K = torch.tensor(options, device=room_B.device)
    drawn_B = draws.integers(draw, "stride", 0, len(options), len(room_B))
    largest_B = (stride_K * window <= room_B[:, None]).sum(dim=1).sub(1).clamp(min=0)
    return stride_K[torch.minimum(drawn_B, largest_B)]


def _pick(u_B: Tensor, count_B: Tensor) -> Tensor:
    """Return int64_B, uniform in [0, count) by u uniform in [0, 1)."""
    return torch.minimum((u_B * count_B).long(), count_B - 1)


def _shift(u_B: Tensor, start_B: Tensor, places_B: Tensor, half_B: Tensor) -> Tensor:
    """Return another start, uniform among those at least `half` away from `start`."""
    before_B = (start_B - half_B + 1).clamp(min=0)
    after_B = (places_B - start_B - half_B).clamp(min=0)
    pick_B = _pick(u_B, (before_B + after_B).clamp(min=1))
    return torch.where(pick_B < before_B, pick_B, pick_B - before_B + start_B + half_B)


def _permute(segments: int, shuffled_B: Tensor, draw: int, draws: StepRNG) -> Tensor:
    """Return permutation_BN: identity, or uniform without identity and (N > 2) reversed order.

    In lexicographic order the identity is first and the reversed order last: a uniform rank between
    them.
    """
    batch, device = len(shuffled_B), shuffled_B.device
    identity_N = torch.arange(segments, device=device)
    if segments == 1:
        return identity_N.expand(batch, 1)
    last = factorial(segments) - 1
    rank_B = draws.integers(draw, "permutation", 1, max(last, 2), batch)
    return torch.where(shuffled_B[:, None], permutation_of_rank(rank_B, segments), identity_N)


def permutation_of_rank(rank_B: Tensor, count: int) -> Tensor:
    """Return int64 (B, count): orders of 0 to count - 1, by rank (Lehmer's code of it).

    Args:
        rank_B: int64, in [0, count!), the place among all orders in lexicographic order.
        count: at most 20.
    """
    device = rank_B.device
    left_BN = torch.arange(count, device=device).repeat(len(rank_B), 1)
    chosen = []
    for place in range(count):
        weight = factorial(count - 1 - place)
        digit_B1 = (rank_B // weight)[:, None]
        rank_B = rank_B % weight
        chosen.append(left_BN.gather(1, digit_B1))
        keep_BN = torch.arange(left_BN.shape[1], device=device) != digit_B1
        left_BN = left_BN[keep_BN].view(len(rank_B), -1)
    return torch.cat(chosen, dim=1)


def frame_order(count: int, reversed_B: Tensor, permutation_BN: Tensor) -> Tensor:
    """Return order_BT, T = count: played backwards where reversed, then the segments permuted."""
    batch, segments = permutation_BN.shape
    forward_T = torch.arange(count, device=reversed_B.device)
    played_BT = torch.where(reversed_B[:, None], forward_T.flip(0), forward_T)
    parts_BNS = played_BT.view(batch, segments, count // segments)
    index_BNS = permutation_BN[:, :, None].expand_as(parts_BNS)
    return parts_BNS.gather(1, index_BNS).view(batch, count)
