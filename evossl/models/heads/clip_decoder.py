"""A small decoder from a feature map to pixels.

Shapes: B clip, C channel, T time, H height, W width.
"""

from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int, int]

MIN_CHANNELS, MAX_CHANNELS = 8, 32  # at the last size, and the limit before it


class Size(NamedTuple):
    """The extent of a feature map."""

    time: int
    height: int
    width: int


class ClipDecoder(nn.Module):
    """Decodes a feature map to pixels: upsampling with convolutions, then 2 x 2 pixel patches.

    The decoder is cheap and weak on purpose: the encoder is what should learn. It never convolves
    at full size; the last layer gives the four pixels of each position of a map of half the size
    (sub-pixel convolution: Shi et al., CVPR 2016). Kernels have extent 3 along the axes that were
    just upsampled and 1 along the others.

    Args:
        map_shape: (C, T, H, W) of the feature map; audio (C, 1, F, T).
        out_shape: (C, T, H, W) of the pixels.
    """

    def __init__(self, map_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.out_shape = out_shape
        channels, frames, height, width = out_shape
        half = Size(frames, ceil(height / 2), ceil(width / 2))
        self.sizes = _upsampled_sizes(Size(*map_shape[1:]), half)
        sizes = [Size(*map_shape[1:]), *self.sizes]
        widths = [min(MIN_CHANNELS << i, MAX_CHANNELS) for i in reversed(range(len(sizes)))]
        self.input_block = conv_block(map_shape[0], widths[0], Size(1, 1, 1))
        kernels = [
            Size(*(3 if after > before else 1 for before, after in zip(*pair, strict=True)))
            for pair in pairwise(sizes)
        ]
        self.upsampling_blocks = nn.ModuleList(
            conv_block(dim_in, dim_out, kernel)
            for (dim_in, dim_out), kernel in zip(pairwise(widths), kernels, strict=True)
        )
        self.sub_pixel_conv = nn.Conv3d(widths[-1], channels * 4, 1)

    def forward(self, map_BCTHW: Tensor) -> Tensor:
        """Return pixels (B, *out_shape), not bounded."""
        x_BCTHW = self.input_block(map_BCTHW)
        for size, block in zip(self.sizes, self.upsampling_blocks, strict=True):
            x_BCTHW = block(F.interpolate(x_BCTHW, size=size))
        channels, _, height, width = self.out_shape
        shape = (len(x_BCTHW), channels, 2, 2, *x_BCTHW.shape[2:])
        patches = self.sub_pixel_conv(x_BCTHW).reshape(shape).permute(0, 1, 4, 5, 2, 6, 3)
        pixels: Tensor = patches.flatten(5, 6).flatten(3, 4)
        return pixels[..., :height, :width]


def _upsampled_sizes(start: Size, end: Size) -> list[Size]:
    """Return the sizes after `start` up to `end`; no step more than doubles an axis.

    The first steps upsample the fewest axes, because later steps cost more.

    >>> [tuple(size) for size in _upsampled_sizes(Size(2, 1, 1), Size(4, 4, 4))]
    [(4, 2, 2), (4, 4, 4)]
    """
    doublings = [max(0, ceil(log2(b / a))) for a, b in zip(start, end, strict=True)]
    steps = max(*doublings, int(start != end))  # one step also where the map only shrinks
    return [
        Size(*(ceil(b / 2 ** max(n - step, 0)) for n, b in zip(doublings, end, strict=True)))
        for step in range(1, steps + 1)
    ]


def conv_block(dim_in: int, dim_out: int, kernel: Size) -> nn.Sequential:
    """Return a convolution that keeps the map's size, BatchNorm and ReLU."""
    padding = Size(*(extent // 2 for extent in kernel))
    return nn.Sequential(
        nn.Conv3d(dim_in, dim_out, kernel, padding=padding, bias=False),
        nn.BatchNorm3d(dim_out),
        nn.ReLU(inplace=True),
    )
