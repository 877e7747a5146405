"""Temporal sampling: which frames of the stretch a view takes, and in which order. No pixels.

A window of steps is placed in the stretch, a step being `stride` frames; the view takes frames of
that window (`spec.Time`).

Shapes: B clip, K stride to choose from, N segment, T frame taken.
"""

from dataclasses import dataclass, replace
from math import ceil, factorial
from typing import TypeVar

import torch
from torch import Tensor

from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings
from evossl.views.spec import Cells, View
from evossl.views.step_rng import StepRNG

SPEED_STRIDES = (1, 2)  # strides of strong views if `speed` is ignored

IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


@dataclass(frozen=True)
class TimePlan:
    """The frames that each sample of a view takes.

    Attributes:
        start_B: int64, first frame of the window.
        stride_B: int64, frames per step.
        longest_stride: the largest stride that a sample can have.
        window: length of the window in steps.
        frames: number of frames taken.
        offset: steps from the start of the window to the first frame taken.
        hole: steps skipped after the first half of the frames.
        segment_steps: steps from the start of one segment to the start of the next.
        order_BT: int64, frame j of the output is taken frame order[j] (reversal, then permutation).
        reversed_B, shuffled_B, shifted_B: bool, as in `spec.Applied`.
        permutation_BN: int64, as in `spec.Applied`.
        valid_B: bool, the stretch is long enough.
    """

    start_B: Tensor
    stride_B: Tensor
    longest_stride: int
    window: int
    frames: int
    offset: int
    hole: int
    segment_steps: int
    order_BT: Tensor
    reversed_B: Tensor
    shuffled_B: Tensor
    shifted_B: Tensor
    permutation_BN: Tensor
    valid_B: Tensor

    @property
    def span_B(self) -> Tensor:
        """Number of frames of the stretch that the window covers."""
        return self.window * self.stride_B

    def frame_index_BT(self, num_frames_B: Tensor) -> Tensor:
        """Return the frames of the stretch to show; a short stretch repeats its last frame."""
        is_second_half_BT = 2 * self.order_BT >= self.frames
        steps_BT = self.offset + self.steps_of(self.order_BT) + self.hole * is_second_half_BT
        index_BT = self.start_B[:, None] + steps_BT * self.stride_B[:, None]
        return torch.minimum(index_BT, num_frames_B[:, None] - 1)

    @property
    def num_steps(self) -> int:
        """Number of steps from the first frame taken to the last, inclusive, without the hole."""
        segments = self.permutation_BN.shape[1]
        return (segments - 1) * self.segment_steps + self.frames // segments

    def steps_of(self, index_BT: Tensor, parts: int = 1) -> Tensor:
        """Return the steps of the frames with the given numbers, counted from the first frame.

        Args:
            index_BT: numbers of frames; or of parts of frames, if each frame has several.
            parts: number of parts of a frame (log-mel columns). The steps returned are then
                multiplied by it.
        """
        length = self.frames // self.permutation_BN.shape[1] * parts
        return index_BT // length * (self.segment_steps * parts) + index_BT % length


def num_view_frames(view: View, settings: ViewSettings) -> int:
    """Return the number of frames that a view takes, over all its segments or cells."""
    return settings.frames if view.time.frames is None else view.time.frames


def piece_and_cell_steps(view: View, cells: Cells, settings: ViewSettings) -> tuple[int, int]:
    """Return the lengths in steps of a piece and of its cell, which includes the gap."""
    frames = num_view_frames(view, settings) // cells.times
    return frames, _length_with_gap(frames, cells.gap) if cells.times > 1 else frames


def _length_with_gap(frames: int, gap: float) -> int:
    """Return the fewest steps of which a fraction `gap` can be skipped and `frames` remain."""
    return ceil(frames / (1 - gap))


def min_window_steps(view: View, settings: ViewSettings) -> int:
    """Return the length in steps of the shortest window that holds all frames of the view."""
    time, frames = view.time, num_view_frames(view, settings)
    if view.cells is not None:
        return time.offset + view.cells.times * piece_and_cell_steps(view, view.cells, settings)[1]
    length = frames // time.segments
    gaps = (time.segments - 1) * (_length_with_gap(length, time.gap) - length)
    return time.offset + frames + gaps + time.hole


def window_steps(view: View, settings: ViewSettings) -> int:
    """Return the length in steps of the view's window."""
    return min_window_steps(view, settings) if view.time.window is None else view.time.window


def stride_choices(view: View, settings: ViewSettings) -> tuple[int, ...]:
    """Return the strides that a view draws from, ascending."""
    stride = view.time.stride
    if stride == 1 and view.space.kind == "strong" and "speed" in settings.ignores:
        return SPEED_STRIDES
    return (stride,) if isinstance(stride, int) else tuple(sorted(set(stride)))


def resolve_strides(view: View, settings: ViewSettings) -> View:
    """Return the view with its strides written out, so that equivalent recipes compare equal."""
    within = None if view.within is None else resolve_strides(view.within, settings)
    return replace(
        view, time=replace(view.time, stride=stride_choices(view, settings)), within=within
    )


def min_stretch_frames(span: IntOrTensor, *, shift: bool) -> IntOrTensor:
    """Return the fewest frames in which a window of `span` frames can be placed.

    With `shift`, every placement must also leave another one at least half a window away, which
    holds for n frames if n - span >= 2 h - 1 with h = ceil(span / 2).
    """
    return span + 2 * ((span + 1) // 2) - 1 if shift else span


def plan_time(
    view: View, clips: ClipBatch, settings: ViewSettings, rng: StepRNG, outer: TimePlan | None
) -> TimePlan:
    """Return which frames `view` takes of each clip, inside the window of `outer` if given."""
    time, draw, batch = view.time, _time_draw(view), len(clips)
    room_B = clips.num_frames_B if outer is None else outer.span_B
    window, frames = window_steps(view, settings), num_view_frames(view, settings)
    choices = stride_choices(view, settings)

    stride_B = _draw_stride(choices, window, room_B, rng, draw)
    span_B = window * stride_B
    valid_B = room_B >= min_stretch_frames(span_B, shift=time.shift > 0)
    if outer is not None:
        valid_B = valid_B & outer.valid_B
    num_places_B = (room_B - span_B + 1).clamp(min=1)
    u_B = rng.uniform(_placement_draw(view, settings), "start", batch)
    start_B = _uniform_index(u_B, num_places_B)

    shifted_B = rng.bernoulli(draw, "shift", time.shift, batch) & valid_B
    u_B = rng.uniform(draw, "elsewhere", batch)
    elsewhere_B = _shifted_start(u_B, start_B, num_places_B, (span_B + 1) // 2)
    start_B = torch.where(shifted_B, elsewhere_B, start_B)

    reversed_B = rng.bernoulli(draw, "reverse", time.reverse, batch)
    shuffled_B = rng.bernoulli(draw, "shuffle", time.shuffle if time.segments > 1 else 0.0, batch)
    permutation_BN = _draw_permutation(time.segments, shuffled_B, rng, draw)
    return TimePlan(
        start_B=start_B if outer is None else outer.start_B + start_B,
        stride_B=stride_B,
        longest_stride=choices[-1],
        window=window,
        frames=frames,
        offset=time.offset,
        hole=time.hole,
        segment_steps=_length_with_gap(frames // time.segments, time.gap),
        order_BT=frame_order(frames, reversed_B, permutation_BN),
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
    """Return the draw that places the window: 0 for strong views unless `time` is ignored."""
    if view.space.kind == "strong" and "time" not in settings.ignores:
        return 0
    return _time_draw(view)


def _draw_stride(
    choices: tuple[int, ...], window: int, room_B: Tensor, rng: StepRNG, draw: int
) -> Tensor:
    """Return int64_B: a stride drawn from `choices`, or the largest whose window fits."""
    stride_K = torch.tensor(choices, device=room_B.device)
    drawn_B = rng.integers(draw, "stride", 0, len(choices), len(room_B))
    largest_B = (stride_K * window <= room_B[:, None]).sum(dim=1).sub(1).clamp(min=0)
    return stride_K[torch.minimum(drawn_B, largest_B)]


def _uniform_index(u_B: Tensor, count_B: Tensor) -> Tensor:
    """Return int64_B, uniform in [0, count), from u uniform in [0, 1)."""
    return torch.minimum((u_B * count_B).long(), count_B - 1)


def _shifted_start(u_B: Tensor, start_B: Tensor, num_places_B: Tensor, half_B: Tensor) -> Tensor:
    """Return another start, uniform among those at least `half` frames away from `start`."""
    before_B = (start_B - half_B + 1).clamp(min=0)
    after_B = (num_places_B - start_B - half_B).clamp(min=0)
    index_B = _uniform_index(u_B, (before_B + after_B).clamp(min=1))
    return torch.where(index_B < before_B, index_B, index_B - before_B + start_B + half_B)


def _draw_permutation(segments: int, shuffled_B: Tensor, rng: StepRNG, draw: int) -> Tensor:
    """Return permutation_BN: the identity, or where shuffled a random other order.

    The random order is uniform among all but the identity and, for N > 2, the reversed order. These
    two are the first and the last in lexicographic order, so a rank between them is drawn.
    """
    batch, device = len(shuffled_B), shuffled_B.device
    identity_N = torch.arange(segments, device=device)
    if segments == 1:
        return identity_N.expand(batch, 1)
    last_rank = factorial(segments) - 1
    rank_B = rng.integers(draw, "permutation", 1, max(last_rank, 2), batch)
    return torch.where(shuffled_B[:, None], permutation_of_rank(rank_B, segments), identity_N)


def permutation_of_rank(rank_B: Tensor, count: int) -> Tensor:
    """Return int64 (B, count): the permutations of 0 to count - 1 with the given ranks.

    Args:
        rank_B: int64 in [0, count!), the position among all permutations in lexicographic order.
            Its digits in the factorial number system are the Lehmer code of the permutation.
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
        is_left_BN = torch.arange(left_BN.shape[1], device=device) != digit_B1
        left_BN = left_BN[is_left_BN].view(len(rank_B), -1)
    return torch.cat(chosen, dim=1)


def frame_order(count: int, reversed_B: Tensor, permutation_BN: Tensor) -> Tensor:
    """Return order_BT with T = count: reversed where `reversed_B`, then its segments permuted."""
    batch, segments = permutation_BN.shape
    forward_T = torch.arange(count, device=reversed_B.device)
    played_BT = torch.where(reversed_B[:, None], forward_T.flip(0), forward_T)
    parts_BNS = played_BT.view(batch, segments, count // segments)
    index_BNS = permutation_BN[:, :, None].expand_as(parts_BNS)
    return parts_BNS.gather(1, index_BNS).view(batch, count)
