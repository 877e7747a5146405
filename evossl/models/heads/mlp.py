"""Multi-layer perceptrons: projection heads, prediction heads and expanders."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

MAX_HIDDEN_LAYERS = 8
HiddenLayers = Annotated[int, Field(ge=0, le=MAX_HIDDEN_LAYERS)]
ExpansionFactor = Annotated[int, Field(ge=1, le=8)]  # Barlow Twins and VICReg report up to 8


def mlp(sizes: Sequence[int], norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Return an MLP: Linear, BatchNorm, ReLU, ..., Linear.

    Args:
        sizes: widths from the input to the output, at least two.
        norm: BatchNorm after the hidden layers (SimCLR, BYOL, SimSiam; not MoCo v2).
        last_norm: BatchNorm after the last layer too (SimSiam's projection head).
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


def projection_head(
    width: int,
    out_dim: int,
    hidden_layers: int = 1,
    norm: bool = True,
    last_norm: bool = False,
) -> nn.Sequential:
    """Return an MLP from the embedding to a projection; its hidden layers are `width` wide.

    Args:
        width: D of the embedding.
        out_dim: width of the projection.
        hidden_layers: number of hidden layers; 0 gives one linear layer.
        norm: BatchNorm after the hidden layers.
        last_norm: BatchNorm after the last layer too.
    """
    return mlp([width] * (1 + hidden_layers) + [out_dim], norm, last_norm)


def prediction_head(dim: int, hidden_dim: int, hidden_layers: int = 1) -> nn.Sequential:
    """Return an MLP that predicts one projection from another; both are `dim` wide.

    Args:
        dim: width of the projections.
        hidden_dim: width of the hidden layers.
        hidden_layers: number of hidden layers.
    """
    return mlp([dim] + [hidden_dim] * hidden_layers + [dim])


def expander(width: int, factor: int) -> nn.Sequential:
    """Return the head of Barlow Twins and VICReg: three layers, each `factor * width` wide.

    Both papers use a factor of 4 with batches of 2048; with few clips, correlations between many
    features are mostly chance.

    Raises:
        ValueError: the factor is less than 1.
    """
    if factor < 1:
        raise ValueError(f"expansion must be 1 or more, got {factor}")
    return mlp([width] + [factor * width] * 3)
