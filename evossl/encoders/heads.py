"""Heads that tasks put on an encoder's features.

Shapes: B clip, C channel, T time, H height, W width, D embedding.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log2

import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int, int]

DECODER_WIDTH = 32  # channels of a decoder's first map; half of it after each doubling
DECODER_LEAST = 8


def mlp(sizes: Sequence[int], norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Return Linear, BatchNorm, ReLU, ..., Linear: a projection or prediction head.

    Args:
        sizes: widths from the embedding's to the output's, at least two.
        norm: BatchNorm after the hidden layers (SimCLR, BYOL, SimSiam; not MoCo v2).
        last_norm: BatchNorm after the last layer too (SimSiam's projector).
    """
    assert len(sizes) >= 2, f"an MLP has an input and an output width, got {sizes}"
    layers: list[nn.Module] = []
    for i, (dim_in, dim_out) in enumerate(pairwise(sizes)):
        is_last = i == len(sizes) - 2
        has_norm = last_norm if is_last else norm
        layers.append(nn.Linear(dim_in, dim_out, bias=not has_norm))
        layers += [nn.BatchNorm1d(dim_out)] if has_norm else []
        layers += [] if is_last else [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ClipDecoder(nn.Module):
    """From a stage's map to pixels, cheaply: doublings by nearest neighbour, each with a convolution.

    Few channels, fewer towards full size: the encoder is what is to be trained, and a strong
    decoder would solve the task in its stead. Flat inputs (sound: T or depth 1) get flat kernels.

    Args:
        map_shape: (C, T, H, W) of the map; sound (C, 1, F, T).
        out_shape: (C, T, H, W) of the pixels.
    """

    def __init__(self, map_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        sizes = _growth(map_shape[1:], out_shape[1:])
        widths = [max(DECODER_WIDTH >> i, DECODER_LEAST) for i in range(len(sizes) + 1)]
        self.squeeze = nn.Sequential(
            nn.Conv3d(map_shape[0], widths[0], 1, bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.sizes = sizes
        self.grow = nn.ModuleList(
            _grow(dim_in, dim_out, size)
            for (dim_in, dim_out), size in zip(pairwise(widths), sizes, strict=True)
        )
        self.pixels = nn.Conv3d(widths[-1], out_shape[0], 1)

    def forward(self, map_BCTHW: Tensor) -> Tensor:
        """Return pixels (B, *out_shape), not bounded."""
        x_BCTHW = self.squeeze(map_BCTHW)
        for size, grow in zip(self.sizes, self.grow, strict=True):
            x_BCTHW = grow(F.interpolate(x_BCTHW, size=size))
        out: Tensor = self.pixels(x_BCTHW)
        return out


def _growth(start: Sequence[int], end: Sequence[int]) -> list[tuple[int, ...]]:
    """Sizes after `start`, up to `end`, at most doubling; a dimension that grows less starts later.

    >>> _growth((2, 1, 1), (4, 4, 4))
    [(2, 2, 2), (4, 4, 4)]
    """
    steps = max(ceil(log2(max(b / a for a, b in zip(start, end, strict=True)))), 0)
    left = [2 ** (steps - 1 - step) for step in range(steps)]
    return [
        tuple(min(max(a, ceil(b / n)), b) for a, b in zip(start, end, strict=True)) for n in left
    ]


def _grow(dim_in: int, dim_out: int, size: Sequence[int]) -> nn.Sequential:
    kernel = tuple(3 if extent > 1 else 1 for extent in size)
    padding = tuple(k // 2 for k in kernel)
    return nn.Sequential(
        nn.Conv3d(dim_in, dim_out, kernel, padding=padding, bias=False),  # type: ignore[arg-type]
        nn.BatchNorm3d(dim_out),
        nn.ReLU(inplace=True),
    )
