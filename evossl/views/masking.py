"""Random masks of space-time blocks (VideoMAE, Tong et al., NeurIPS 2022, section 3.2).

Shapes: B clip, C channel, T frame, H height, W width; mask_BTHW has one entry per block.
"""

from math import ceil

from torch import Tensor

from evossl.views.spec import Mask
from evossl.views.step_rng import StepRNG

BLOCK_FRAMES = 2  # frames that a block lasts, as in VideoMAE


def mask_shape(mask: Mask, input_shape: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Return the number of blocks (T, H, W) of an input (C, T, H, W).

    H and W of the input must be multiples of the patch.
    """
    _, frames, height, width = input_shape
    return ceil(frames / BLOCK_FRAMES), height // mask.patch, width // mask.patch


def num_masked(mask: Mask, num_blocks: int) -> int:
    """Return how many of the `num_blocks` blocks of one time slice are masked."""
    return round(mask.ratio * num_blocks)


def draw_mask(
    mask: Mask, input_shape: tuple[int, int, int, int], batch: int, rng: StepRNG, draw: int
) -> Tensor:
    """Return mask_BTHW: in each time slice, exactly round(ratio * H * W) random blocks are True."""
    times, high, wide = mask_shape(mask, input_shape)
    num_slices = 1 if mask.tube else times
    u = rng.uniform(draw, "mask", batch, num_slices, high * wide)
    rank = u.argsort(dim=2).argsort(dim=2)
    is_masked = (rank < num_masked(mask, high * wide)).view(batch, num_slices, high, wide)
    return is_masked.expand(batch, times, high, wide)


def apply_mask(x_BCTHW: Tensor, mask_BTHW: Tensor, patch: int) -> Tensor:
    """Return x with the masked blocks set to zero, the mean of a normalised input."""
    frames = x_BCTHW.shape[2]
    pixels = mask_BTHW.repeat_interleave(BLOCK_FRAMES, dim=1)[:, :frames]
    pixels = pixels.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
    return x_BCTHW.masked_fill(pixels[:, None], 0.0)
