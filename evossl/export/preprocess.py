"""From raw frames to the clip that an encoder is scored on: what the cache and the CLEAN view do.

Shapes: B clip, L frame given, T frame of the clip, H height, W width, C channel.
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
class Clean:
    """What an encoder is shown.

    Attributes:
        frames: T. size: side in pixels. fps: frames a second.
        short_side: pixels to which a frame is scaled before it is cropped (the cache's).
        mean, std: of each channel of an image in [0, 1].
    """

    frames: int
    size: int
    fps: float
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def prepare(frames: Tensor, fps: float | None, clean: Clean, device: torch.device) -> Tensor:
    """Return the normalised clips (B, 3, T, size, size), float32 on `device`.

    Args:
        frames: uint8, (L, H, W, 3) or (B, L, H, W, 3).
        fps: of `frames`; None is `clean.fps`.
        clean: what to make of them.
        device: of the result.

    Raises:
        UserError: not uint8, another shape, no frame, or a rate that is not positive.
    """
    if frames.dtype != torch.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise UserError(
            f"preprocess takes uint8 RGB frames (T, H, W, 3) or (B, T, H, W, 3), not "
            f"{frames.dtype} {tuple(frames.shape)}"
        )
    if frames.numel() == 0:
        raise UserError(f"preprocess was given no frame: {tuple(frames.shape)}")
    rate = clean.fps if fps is None else fps
    if not 0 < rate < float("inf"):
        raise UserError(f"preprocess: fps is {fps}; it must be positive")
    frames_BLHWC = frames[None] if frames.ndim == 4 else frames
    index_T = _middle(frames_BLHWC.shape[1], rate, clean)
    kept_BTHWC = _kept(frames_BLHWC[:, index_T].to(device), clean.short_side).contiguous()
    mean_C, std_C = (torch.tensor(x, device=device).view(-1, 1, 1) for x in (clean.mean, clean.std))
    pixels_BTCHW = (_cropped(kept_BTHWC, clean.size) - mean_C) / std_C
    return pixels_BTCHW.transpose(1, 2).contiguous()


def _middle(length: int, rate: float, clean: Clean) -> Tensor:
    """Return index_T of the frames at `clean.fps` in the middle; the last one repeated at need."""
    grid = nearest_frames(np.arange(length) / rate, clean.fps, max_seconds=float("inf"))
    start = max(0, (len(grid) - clean.frames) // 2)
    steps_T = np.minimum(start + np.arange(clean.frames), len(grid) - 1)
    return torch.from_numpy(grid[steps_T])


def _kept(frames_BTHWC: Tensor, short_side: int) -> Tensor:
    """Return uint8 frames with their short side at `short_side`, as the cache holds them."""
    height, width = frames_BTHWC.shape[2:4]
    wide, tall = scaled_size(width, height, short_side)
    if (tall, wide) == (height, width):
        return frames_BTHWC
    x_NCHW = frames_BTHWC.flatten(0, 1).permute(0, 3, 1, 2).float()
    x_NCHW = F.interpolate(x_NCHW, size=(tall, wide), mode="bilinear", antialias=True)
    x_NHWC = x_NCHW.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return x_NHWC.view(*frames_BTHWC.shape[:2], tall, wide, 3)


def _cropped(frames_BTHWC: Tensor, size: int) -> Tensor:
    """Return (B, T, C, size, size) in [0, 1]: the largest centred square, scaled."""
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
