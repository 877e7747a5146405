"""Multi-layer perceptrons: projection heads, prediction heads, expanders."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

Expansion = Annotated[int, Field(ge=1, le=8)]  # 8: the widest that either paper has tried


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


def expander(width: int, times: int) -> nn.Sequential:
    """Return the head of Barlow Twins and VICReg: three layers, `times` as wide as the embedding.

    4 times in both papers, with batches of 2048: correlations of many features over few clips are
    mostly chance.

    Raises:
        ValueError: less than once as wide.
    """
    if times < 1:
        raise ValueError(f"an expansion is 1 or more, got {times}")
    return mlp([width, *[times * width] * 3])
