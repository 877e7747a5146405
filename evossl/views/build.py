"""Build the inputs that views describe: each distinct one once, batched, on the clips' device.

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
from evossl.views.log_mel import augment_waveform, log_mel
from evossl.views.masking import apply_mask, draw_mask
from evossl.views.puzzle import draw_order, permute_pieces, plan_pieces, standardise_pieces
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape, splits_segments
from evossl.views.spec import Applied, Cells, View, ViewInput
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, piece_and_cell_steps, plan_time

FLOW_PIXELS_PER_UNIT = 2.0  # pixels of the view per step; a usual motion at 12 frames per second
PIECE_DRAW_STRIDE = 1000  # piece i of a view with draw d uses draw 1000 d + i


def build_views(
    views: Iterable[View], clips: ClipBatch, settings: ViewSettings, *, seed: int, step: int
) -> dict[View, ViewInput]:
    """Return the inputs of the views by `View.input_key`; each distinct one is built once.

    Args:
        views: recipes; their encoders do not matter.
        clips: decoded stretches, on the device where the inputs are wanted.
        settings: of the search space.
        seed: of the run.
        step: training step. The random numbers depend on seed, step, the draws of a view and the
            place of a sample in the batch, and on nothing else.
    """
    rng = StepRNG(seed, step, clips.frames_BLHWC.device)
    builder = _ViewBuilder(clips, settings, rng, {})
    # Autocast is switched off because half precision would move crops by pixels.
    with torch.no_grad(), torch.autocast(rng.device.type, enabled=False):
        return {key: builder.build(key) for key in dict.fromkeys(v.input_key for v in views)}


@dataclass(frozen=True)
class _ViewBuilder:
    """Builds the inputs of one batch of clips.

    Attributes:
        clips: the batch.
        settings: of the search space.
        rng: random numbers of the step.
        crops: crops built so far, which views of several streams share.
    """

    clips: ClipBatch
    settings: ViewSettings
    rng: StepRNG
    crops: dict[View, Tensor]

    def build(self, view: View) -> ViewInput:
        """Return the input of one view."""
        if view.pieces > 1 and not splits_segments(view):
            return _stack_pieces([self.build(piece) for piece in views_of_pieces(view)])
        time, space = self._plan(view)
        if view.cells is not None:
            return self._build_puzzle(view, view.cells, time, space)
        x = self._pixels(view, time, space)
        if splits_segments(view):
            x = _split_segments(x, view)
        mask_BTHW, x = self._mask(view, x)
        return ViewInput(x, self._applied(time, space, mask_BTHW), self._valid(view, time))

    def _build_puzzle(
        self, view: View, cells: Cells, time: TimePlan, space: SpacePlan
    ) -> ViewInput:
        draw = _space_draw(view)
        order = draw_order(cells, len(self.clips), self.rng, draw)
        steps = piece_and_cell_steps(view, cells, self.settings)
        plans = plan_pieces(cells, time, steps, space, self.rng, draw)
        # Each piece has its own jitter. Negative draws are used by no other view.
        pieces = [
            self._pixels(replace(view, space_draw=-PIECE_DRAW_STRIDE * (draw + 1) - i), *plan)
            for i, plan in enumerate(plans)
        ]
        if view.stream is not Stream.FLOW:  # standardising flow would remove the motion
            pieces = [standardise_pieces(piece) for piece in pieces]
        applied = replace(
            self._applied(time, space, None),
            permutation_BN=order.permutation_BN,
            order_B=order.order_B,
        )
        pixels = permute_pieces(pieces, order.permutation_BN)
        return ViewInput(pixels, applied, self._valid(view, time))

    def _plan(self, view: View) -> tuple[TimePlan, SpacePlan]:
        outer = (None, None) if view.within is None else self._plan(view.within)
        time = plan_time(view, self.clips, self.settings, self.rng, outer[0])
        return time, plan_space(view, self.clips, self.settings, self.rng, outer[1])

    def _valid(self, view: View, time: TimePlan) -> Tensor:
        is_sound = view.stream is Stream.AUDIO
        return time.valid_B & self.clips.has_audio_B if is_sound else time.valid_B

    def _pixels(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        if view.stream is Stream.AUDIO:
            return self._log_mel(view, time)
        if view.stream is Stream.FLOW:
            return self._flow(view, time, space)
        return self._image(view, time, space)

    def _log_mel(self, view: View, time: TimePlan) -> Tensor:
        waveform_BS = self.clips.waveform_BS
        if view.space.kind == "strong" and "noise" in self.settings.ignores:
            strength = self.settings.augmentation.noise_strength
            waveform_BS = augment_waveform(waveform_BS, self.rng, _space_draw(view), strength)
        return log_mel(waveform_BS, time, self.clips.fps, self.settings.mel_bands)

    def _flow(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        steady = replace(view, jitter_frames=False)  # shifted frames would add motion
        gray = luma(self._crop(steady, time, space))
        if not view.time.hole:
            return _segment_flow(gray, view.time.segments)
        # There is no flow across the hole. The first half is the longer one of an odd number.
        halves = gray.tensor_split([(gray.shape[1] + 1) // 2], dim=1)
        return torch.cat([_segment_flow(half, 1) for half in halves], dim=2)

    def _image(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        x = self._crop(view, time, space)
        if view.stream is Stream.GRAY:
            x = luma(x)
        elif view.channels != "all":
            x = self._one_channel(view, x).expand_as(x)
        x = self._augment_colour(view, x)
        return ((x - PIXEL_MEAN) / PIXEL_SD).transpose(1, 2).contiguous()

    def _crop(self, view: View, time: TimePlan, space: SpacePlan) -> Tensor:
        key = replace(view, stream=Stream.RGB, mask=None, pieces=1, channels="all")
        if key not in self.crops:
            index_BT = time.frame_index_BT(self.clips.num_frames_B)
            shift_BT2 = self._frame_shift(view, time.frames) if view.jitter_frames else None
            self.crops[key] = crop_frames(self.clips.frames_BLHWC, index_BT, space, shift_BT2)
        return self.crops[key]

    def _one_channel(self, view: View, x_BTCHW: Tensor) -> Tensor:
        if view.channels == "luma":
            return luma(x_BTCHW)
        batch, _, num_channels = x_BTCHW.shape[:3]
        channel_B = self.rng.integers(_space_draw(view), "channel", 0, num_channels, batch)
        return x_BTCHW[torch.arange(batch, device=x_BTCHW.device), :, channel_B, None]

    def _frame_shift(self, view: View, frames: int) -> Tensor:
        """Return int64 (B, T, 2): a shift of each frame by -1, 0 or 1 pixels (down, right)."""
        count = len(self.clips) * frames * 2
        shift = self.rng.integers(_space_draw(view), "shift of frames", -1, 2, count)
        return shift.view(len(self.clips), -1, 2)

    def _augment_colour(self, view: View, x: Tensor) -> Tensor:
        draw, batch, strong = _space_draw(view), len(x), view.space.kind == "strong"
        augmentation = self.settings.augmentation
        apply_jitter = jitter_luma if view.stream is Stream.GRAY else jitter
        if strong and "colour" in self.settings.ignores:
            strength = augmentation.colour_strength
            plan = plan_colour(self.rng, draw, batch, None, gray=True, strength=strength)
            x = apply_jitter(x, plan)
        if view.jitter_frames:
            x = apply_jitter(x, plan_colour(self.rng, draw, batch, x.shape[1], gray=False))
        if strong and "noise" in self.settings.ignores:
            x = add_noise(x, self.rng, draw, augmentation.noise_strength)
        return x

    def _mask(self, view: View, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the mask in blocks, or None, and the masked input."""
        if view.mask is None:
            return None, x
        shape = input_shape(view, self.settings, self.clips.fps)
        inputs = x.view(-1, *shape)
        mask = draw_mask(view.mask, shape, len(inputs), self.rng, _space_draw(view))
        masked = apply_mask(inputs, mask, view.mask.patch).view_as(x)
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


def views_of_pieces(view: View) -> list[View]:
    """Return the views, of one piece each, that a view of independent pieces consists of."""
    assert view.time_draw is not None
    assert view.space_draw is not None
    time, space = view.time_draw * PIECE_DRAW_STRIDE, view.space_draw * PIECE_DRAW_STRIDE
    return [
        replace(view, pieces=1, time_draw=time + i, space_draw=space + i)
        for i in range(view.pieces)
    ]


def _segment_flow(gray_BT1HW: Tensor, segments: int) -> Tensor:
    """Return the normalised flow (B, 2, T, H, W) within each segment."""
    b, t = gray_BT1HW.shape[:2]
    flow = clip_flow(gray_BT1HW.reshape(b * segments, t // segments, *gray_BT1HW.shape[2:]))
    flow = (flow / FLOW_PIXELS_PER_UNIT).view(b, t, *flow.shape[2:])
    return flow.transpose(1, 2).contiguous()


def _split_segments(x: Tensor, view: View) -> Tensor:
    """Split the time axis into pieces: (B, C, T, H, W) -> (B, N, C, T / N, H, W)."""
    axis = 4 if view.stream is Stream.AUDIO else 2
    return torch.stack(x.chunk(view.pieces, dim=axis), dim=1)


def _stack_pieces(pieces: list[ViewInput]) -> ViewInput:
    """Return one input whose pieces are the inputs given; it is valid where all of them are."""

    def stack(name: str) -> Tensor:
        return torch.stack([getattr(piece.applied, name) for piece in pieces], dim=1)

    names = [f.name for f in fields(Applied) if getattr(pieces[0].applied, f.name) is not None]
    return ViewInput(
        torch.stack([piece.pixels for piece in pieces], dim=1),
        Applied(**{name: stack(name) for name in names}),
        torch.stack([piece.valid_B for piece in pieces], dim=1).all(dim=1),
    )
