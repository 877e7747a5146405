"""Preprocessing of raw frames into the clips that an encoder was scored on.

It repeats what the clip cache and the clean view do to a video.
Shapes: B clip, L given frame, T frame of the clip, H height, W width, C channel.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evossl.data.decode.frame_selection import nearest_frames, scaled_size
from evossl.errors import UserError
from evossl.views.crop import SpacePlan, crop_frames


@dataclass(frozen=True)
class InputFormat:
    """The clips that an encoder takes.

    Attributes:
        frames: T.
        size: height and width in pixels.
        fps: frames per second.
        short_side: pixels to which a frame's short side is scaled before the crop (the cache's).
        mean, std: of each channel of an image in [0, 1].
    """

    frames: int
    size: int
    fps: float
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def preprocess_frames(
    frames: Tensor, fps: float | None, target: InputFormat, device: torch.device
) -> Tensor:
    """Return normalised clips (B, 3, T, size, size), float32 on `device`.

    Args:
        frames: uint8, (L, H, W, 3) or (B, L, H, W, 3).
        fps: of `frames`; None means `target.fps`.
        target: the format of the clips.
        device: of the result.

    Raises:
        UserError: frames that are not uint8, another shape, no frame, or a rate that is not
            positive.
    """
    if frames.dtype != torch.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise UserError(
            f"preprocess takes uint8 RGB frames (T, H, W, 3) or (B, T, H, W, 3), not "
            f"{frames.dtype} {tuple(frames.shape)}"
        )
    if frames.numel() == 0:
        raise UserError(f"preprocess was given no frame: the shape is {tuple(frames.shape)}")
    rate = target.fps if fps is None else fps
    if not 0 < rate < float("inf"):
        raise UserError(f"preprocess: fps is {fps}; it must be positive")
    frames_BLHWC = frames[None] if frames.ndim == 4 else frames
    index_T = _middle_frames(frames_BLHWC.shape[1], rate, target)
    selected_BTHWC = frames_BLHWC[:, index_T].to(device)
    scaled_BTHWC = _scale(selected_BTHWC, target.short_side).contiguous()
    mean_C, std_C = (
        torch.tensor(x, device=device).view(-1, 1, 1) for x in (target.mean, target.std)
    )
    pixels_BTCHW = (_crop_centre(scaled_BTHWC, target.size) - mean_C) / std_C
    return pixels_BTCHW.transpose(1, 2).contiguous()


def _middle_frames(length: int, rate: float, target: InputFormat) -> Tensor:
    """Return index_T of the middle frames at the target's rate; the last one repeats if needed."""
    index = nearest_frames(np.arange(length) / rate, target.fps, max_seconds=float("inf"))
    start = max(0, (len(index) - target.frames) // 2)
    steps_T = np.minimum(start + np.arange(target.frames), len(index) - 1)
    return torch.from_numpy(index[steps_T])


def _scale(frames_BTHWC: Tensor, short_side: int) -> Tensor:
    """Return uint8 frames with the given short side, as the cache stores them."""
    height, width = frames_BTHWC.shape[2:4]
    new_width, new_height = scaled_size(width, height, short_side)
    if (new_height, new_width) == (height, width):
        return frames_BTHWC
    x_NCHW = frames_BTHWC.flatten(0, 1).permute(0, 3, 1, 2).float()
    x_NCHW = F.interpolate(x_NCHW, size=(new_height, new_width), mode="bilinear", antialias=True)
    x_NHWC = x_NCHW.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return x_NHWC.view(*frames_BTHWC.shape[:2], new_height, new_width, 3)


def _crop_centre(frames_BTHWC: Tensor, size: int) -> Tensor:
    """Return (B, T, C, size, size) in [0, 1]: the largest centred square, scaled to `size`."""
    batch, num_frames, height, width, _ = frames_BTHWC.shape
    side, device = min(height, width), frames_BTHWC.device
    box_4 = torch.tensor([(height - side) / 2, (width - side) / 2, side, side], device=device)
    plan = SpacePlan(
        box_B4=box_4.expand(batch, 4),
        flipped_B=torch.zeros(batch, dtype=torch.bool, device=device),
        blur_B=torch.zeros(batch, device=device),
        size=size,
    )
    index_BT = torch.arange(num_frames, device=device).expand(batch, num_frames)
    return crop_frames(frames_BTHWC, index_BT, plan, None)
