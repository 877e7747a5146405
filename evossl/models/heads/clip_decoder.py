"""A small decoder from a feature map to pixels.

Shapes: B clip, C channel, T time, H height, W width.
"""

from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int, int]

FINEST, COARSEST = 8, 32  # channels of a decoder: at its last size, and at most before it


class Size(NamedTuple):
    """Extent of a map."""

    time: int
    height: int
    width: int


class ClipDecoder(nn.Module):
    """From a stage's map to pixels: doublings, a convolution each; then patches of 2 x 2.

    Cheap and weak on purpose: the encoder is what is to be trained. The full size is never
    convolved: the last layer gives the four pixels of each place of a map of half the size
    (sub-pixel convolution: Shi et al., CVPR 2016). Kernels are 3 wide where a dimension has just
    grown, else 1.

    Args:
        map_shape: (C, T, H, W) of the map; sound (C, 1, F, T).
        out_shape: (C, T, H, W) of the pixels.
    """

    def __init__(self, map_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.out_shape = out_shape
        channels, frames, height, width = out_shape
        half = Size(frames, ceil(height / 2), ceil(width / 2))
        self.sizes = _growth(Size(*map_shape[1:]), half)
        steps = [Size(*map_shape[1:]), *self.sizes]
        widths = [min(FINEST << i, COARSEST) for i in reversed(range(len(steps)))]
        self.squeeze = conv_block(map_shape[0], widths[0], Size(1, 1, 1))
        kernels = [
            Size(*(3 if b > a else 1 for a, b in zip(*sizes, strict=True)))
            for sizes in pairwise(steps)
        ]
        self.grow = nn.ModuleList(
            conv_block(dim_in, dim_out, kernel)
            for (dim_in, dim_out), kernel in zip(pairwise(widths), kernels, strict=True)
        )
        self.patches = nn.Conv3d(widths[-1], channels * 4, 1)

    def forward(self, map_BCTHW: Tensor) -> Tensor:
        """Return pixels (B, *out_shape), not bounded."""
        x_BCTHW = self.squeeze(map_BCTHW)
        for size, grow in zip(self.sizes, self.grow, strict=True):
            x_BCTHW = grow(F.interpolate(x_BCTHW, size=size))
        channels, _, height, width = self.out_shape
        parts = (channels, 2, 2, *x_BCTHW.shape[2:])
        patch = self.patches(x_BCTHW).reshape(len(x_BCTHW), *parts).permute(0, 1, 4, 5, 2, 6, 3)
        pixels: Tensor = patch.flatten(5, 6).flatten(3, 4)
        return pixels[..., :height, :width]


def _growth(start: Size, end: Size) -> list[Size]:
    """Return the sizes after `start`, up to `end`, at most doubling; few doublings come first.

    >>> [tuple(size) for size in _growth(Size(2, 1, 1), Size(4, 4, 4))]
    [(4, 2, 2), (4, 4, 4)]
    """
    doublings = [max(0, ceil(log2(b / a))) for a, b in zip(start, end, strict=True)]
    steps = max(*doublings, int(start != end))  # one step too where the map only shrinks
    return [
        Size(*(ceil(b / 2 ** max(n - step, 0)) for n, b in zip(doublings, end, strict=True)))
        for step in range(1, steps + 1)
    ]


def conv_block(dim_in: int, dim_out: int, kernel: Size) -> nn.Sequential:
    """Return a convolution that keeps a map's extents, BatchNorm, ReLU."""
    padding = Size(*(extent // 2 for extent in kernel))
    return nn.Sequential(
        nn.Conv3d(dim_in, dim_out, kernel, padding=padding, bias=False),
        nn.BatchNorm3d(dim_out),
        nn.ReLU(inplace=True),
    )
