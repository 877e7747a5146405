"""Make the inputs that views describe: each distinct one once, batched, on the clips' device.

Shapes: B clip, N piece, C channel, T frame, H height, W width, F mel band.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from evossl.types import PIXEL_MEAN, PIXEL_SD, ClipBatch, Stream
from evossl.views.colour import add_noise, jitter, jitter_luma, luma, plan_colour
from evossl.views.crop import SpacePlan, crop_frames, plan_space
from evossl.views.flow import clip_flow
from evossl.views.log_mel import disturb, log_mel
from evossl.views.masking import blank, draw_mask
from evossl.views.puzzle import cut, draw_order, permute_pieces, standardise_pieces
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape, splits_segments
from evossl.views.spec import Applied, Cells, View, ViewInput
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, piece_and_cell_steps, plan_time

FLOW_PIXELS_PER_UNIT = (
    2.0  # pixels of the view per step that become 1: what moves at 12 frames a second
)
PIECE_DRAW_STRIDE = 1000  # piece i of draw d is draw 1000 d + i


def build_views(
    views: Iterable[View], clips: ClipBatch, settings: ViewSettings, *, seed: int, step: int
) -> dict[View, ViewInput]:
    """Return the inputs of the views by their `pixels` recipes, each distinct one made once.

    Args:
        views: recipes; who sees them does not matter.
        clips: decoded stretches, on the device where the inputs are wanted.
        settings: of the space.
        seed: of the run.
        step: of the training; seed, step and a view's draws decide all randomness. Numbers are
            drawn for each place in the batch.
    """
    draws = StepRNG(seed, step, clips.frames_BLHWC.device)
    workshop = _ViewBuilder(clips, settings, draws, {})
    # Half precision would move crops by pixels: the caller may be in an autocast region.
    with torch.no_grad(), torch.autocast(draws.device.type, enabled=False):
        return {view: workshop.made(view) for view in dict.fromkeys(v.input_key for v in views)}


@dataclass(frozen=True)
class _ViewBuilder:
    """Makes views of one batch; crops that several views share are kept in `crops`."""

    clips: ClipBatch
    settings: ViewSettings
    draws: StepRNG
    crops: dict[View, Tensor]

    def made(self, view: View) -> ViewInput:
        if view.pieces > 1 and not splits_segments(view):
            return _stack([self.made(piece) for piece in pieces_of(view)])
        time, space = self._plans(view)
        if view.cells is not None:
            return self._puzzle(view, view.cells, time, space)
        if view.stream == Stream.AUDIO:
            x = self._sound(view, time)
            valid_B = time.valid_B & self.clips.has_audio_B
        else:
            x = self._images(view, time, space)
            valid_B = time.valid_B
        if splits_segments(view):
            x = _apart(x, view)
        mask_BTHW, x = self._mask(view, x)
        return ViewInput(x, self._applied(time, space, mask_BTHW), valid_B)

    def _puzzle(self, view: View, cells: Cells, time: TimePlan, space: SpacePlan) -> ViewInput:
        draw, draws = _space_draw(view), self.draws
        order = draw_order(cells, len(self.clips), draws, draw)
        steps = piece_and_cell_steps(view, cells, self.settings)
        plans = cut(cells, time, steps, space, draws, draw)
        # Below zero are draws of no other view: each piece is jittered by itself.
        pieces = [
            self._piece(replace(view, space_draw=-PIECE_DRAW_STRIDE * (draw + 1) - i), *plan)
            for i, plan in enumerate(plans)
        ]
        valid_B = time.valid_B
        if view.stream == Stream.AUDIO:
            valid_B = valid_B & self.clips.has_audio_B
        applied = replace(
            self._applied(time, space, None),
            permutation_BN=order.permutation_BN,
            order_B=order.order_B,
        )
        return ViewInput(permute_pieces(pieces, order.permutation_BN), applied, valid_B)

    def _piece(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        if view.stream == Stream.AUDIO:
            x = self._sound(view, time)
        else:
            x = self._images(view, time, space)
        return (
            x if view.stream == Stream.FLOW else standardise_pieces(x)
        )  # of flow, it would be the motion

    def _plans(self, view: View) -> tuple[TimePlan, SpacePlan]:
        outer = (None, None) if view.within is None else self._plans(view.within)
        time = plan_time(view, self.clips, self.settings, self.draws, outer[0])
        return time, plan_space(view, self.clips, self.settings, self.draws, outer[1])

    def _sound(self, view: View, time: TimePlan) -> Tensor:
        waveform_BS = self.clips.waveform_BS
        if view.space.kind == "strong" and "noise" in self.settings.ignores:
            waveform_BS = disturb(waveform_BS, self.draws, _space_draw(view))
        return log_mel(waveform_BS, time, self.clips.fps, self.settings.mel_bands)

    def _images(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        if view.stream == Stream.FLOW:
            still = replace(view, jitter_frames=False)  # a jumping camera would drown the motion
            gray = luma(self._crop(still, time, space))
            if view.time.hole:  # the first half is the longer one of an odd number
                halves = gray.tensor_split([(gray.shape[1] + 1) // 2], dim=1)
                return torch.cat([_flow(half, 1) for half in halves], dim=2)
            return _flow(gray, view.time.segments)
        x = self._crop(view, time, space)
        if view.stream == Stream.GRAY:
            x = luma(x)
        elif view.channels != "own":
            x = self._one_channel(view, x).expand_as(x)
        x = self._colour(view, x)
        return ((x - PIXEL_MEAN) / PIXEL_SD).transpose(1, 2).contiguous()

    def _crop(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        key = replace(view, stream=Stream.RGB, mask=None, pieces=1, channels="own")
        if key not in self.crops:
            index_BT = time.frame_index_BT(self.clips.num_frames_B)
            shift_BT2 = self._frame_shift(view, time.frames) if view.jitter_frames else None
            self.crops[key] = crop_frames(self.clips.frames_BLHWC, index_BT, space, shift_BT2)
        return self.crops[key]

    def _one_channel(self, view: View, x_BTCHW: Tensor) -> Tensor:
        if view.channels == "luma":
            return luma(x_BTCHW)
        channel_B = self.draws.integers(
            _space_draw(view), "channel", 0, x_BTCHW.shape[2], len(x_BTCHW)
        )
        return x_BTCHW[torch.arange(len(channel_B), device=x_BTCHW.device), :, channel_B, None]

    def _frame_shift(self, view: View, frames: int) -> Tensor:
        count = len(self.clips) * frames * 2
        shift = self.draws.integers(_space_draw(view), "shift of frames", -1, 2, count)
        return shift.view(len(self.clips), -1, 2)

    def _colour(self, view: View, x: Tensor) -> Tensor:
        draw, batch, strong = _space_draw(view), len(x), view.space.kind == "strong"
        change = jitter_luma if view.stream == Stream.GRAY else jitter
        if strong and "colour" in self.settings.ignores:
            x = change(x, plan_colour(self.draws, draw, batch, None, gray=True))
        if view.jitter_frames:
            x = change(x, plan_colour(self.draws, draw, batch, x.shape[1], gray=False))
        if strong and "noise" in self.settings.ignores:
            x = add_noise(x, self.draws, draw)
        return x

    def _mask(self, view: View, x: Tensor) -> tuple[Tensor | None, Tensor]:
        if view.mask is None:
            return None, x
        shape = input_shape(view, self.settings, self.clips.fps)
        rows = x.view(-1, *shape)
        mask = draw_mask(view.mask, shape, len(rows), self.draws, _space_draw(view))
        masked = blank(rows, mask, view.mask.patch).view_as(x)
        return mask.view(*x.shape[:-4], *mask.shape[1:]), masked

    def _applied(self, time: TimePlan, space: SpacePlan, mask_BTHW: Tensor | None) -> Applied:
        return Applied(
            start_B=time.start_B,
            stride_B=time.stride_B,
            reversed_B=time.reversed_B,
            shuffled_B=time.shuffled_B,
            shifted_B=time.shifted_B,
            permutation_BN=time.permutation_BN,
            crop_B4=space.relative_box_B4(self.clips.size_B2),
            flipped_B=space.flipped_B,
            mask_BTHW=mask_BTHW,
        )


def _space_draw(view: View) -> int:
    assert view.space_draw is not None
    return view.space_draw


def pieces_of(view: View) -> list[View]:
    """Return the views of one piece each that a view of drawn pieces consists of."""
    assert view.time_draw is not None
    assert view.space_draw is not None
    time, space = view.time_draw * PIECE_DRAW_STRIDE, view.space_draw * PIECE_DRAW_STRIDE
    return [
        replace(view, pieces=1, time_draw=time + i, space_draw=space + i)
        for i in range(view.pieces)
    ]


def _flow(gray_BT1HW: Tensor, segments: int) -> Tensor:
    """Flow within each segment, normalised, (B, 2, T, H, W)."""
    b, t = gray_BT1HW.shape[:2]
    flow = clip_flow(gray_BT1HW.reshape(b * segments, t // segments, *gray_BT1HW.shape[2:]))
    return (flow / FLOW_PIXELS_PER_UNIT).view(b, t, *flow.shape[2:]).transpose(1, 2).contiguous()


def _apart(x: Tensor, view: View) -> Tensor:
    """SplitConfig the time axis into pieces: (B, C, T, H, W) -> (B, N, C, T / N, H, W)."""
    axis = 4 if view.stream == Stream.AUDIO else 2
    return torch.stack(x.chunk(view.pieces, dim=axis), dim=1)


def _stack(pieces: list[ViewInput]) -> ViewInput:
    """Return one `ViewInput` of several, with N after B; valid where all are."""

    def stack(name: str) -> Tensor:
        return torch.stack([getattr(piece.applied, name) for piece in pieces], dim=1)

    names = [f.name for f in fields(Applied) if getattr(pieces[0].applied, f.name) is not None]
    return ViewInput(
        torch.stack([piece.pixels for piece in pieces], dim=1),
        Applied(**{name: stack(name) for name in names}),
        torch.stack([piece.valid_B for piece in pieces], dim=1).all(dim=1),
    )
