"""BatchNorm's running statistics, estimated anew on clean clips before features are scored.

The moving averages of training hold masked and shuffled views; "precise BatchNorm" replaces them by
the population statistics of what the encoder will be shown (Wu, Johnson, Rethinking "Batch" in
BatchNorm, 2021, section 3; fvcore's `update_bn_stats`).

Shapes: C channel.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evossl.errors import RunError


class _Moments:
    """Counts, means and mean squares of all that a layer was given, in float64."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.count = 0
        self.sum_C = torch.zeros(layer.num_features, dtype=torch.float64)
        self.square_C = torch.zeros(layer.num_features, dtype=torch.float64)

    def __call__(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x: Tensor = inputs[0].detach()
        count = x.numel() // x.shape[1]
        over = [dim for dim in range(x.ndim) if dim != 1]
        variance_C, mean_C = torch.var_mean(x.float(), dim=over, correction=0)
        mean_C, variance_C = mean_C.double().cpu(), variance_C.double().cpu()
        self.count += count
        self.sum_C += count * mean_C
        self.square_C += count * (variance_C + mean_C.square())

    def write(self) -> None:
        mean_C = self.sum_C / self.count
        variance_C = (self.square_C / self.count - mean_C.square()).clamp_min(0.0)
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        self.layer.running_mean.copy_(mean_C)
        self.layer.running_var.copy_(variance_C)


@torch.no_grad()
def update_bn_statistics(encoder: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set each BatchNorm's running mean and variance to those of its inputs over the batches.

    While it runs, BatchNorm normalises by the batch (what a layer is given does not depend on the
    statistics before, so that doing it twice changes nothing) and all else is in eval mode. Each
    value counts the same, whatever its batch's size; batches of one clip are left out, for one
    clip has no variance between clips. Train and eval mode are left as found.

    Args:
        encoder: changed in place; without BatchNorm nothing is done and no batch is drawn.
        batches: of pixels (B, C, T, H, W), on the encoder's device.

    Raises:
        RunError: no batch of at least two clips.
    """
    layers = [
        part
        for part in encoder.modules()
        if isinstance(part, _BatchNorm) and part.running_mean is not None
    ]
    if not layers:
        return
    moments = [_Moments(layer) for layer in layers]
    handles = [m.layer.register_forward_pre_hook(m) for m in moments]
    try:
        with _normalising_by_batch(encoder, layers):
            for pixels in batches:
                if len(pixels) > 1:
                    encoder(pixels)
    finally:
        for handle in handles:
            handle.remove()
    seen = [m for m in moments if m.count]
    if not seen:
        raise RunError("BatchNorm cannot be estimated: it needs a batch of at least 2 clean clips")
    for m in seen:
        m.write()


@contextmanager
def _normalising_by_batch(encoder: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Train mode for `layers` alone, their running statistics and counts kept; then as found."""
    modes = {part: part.training for part in encoder.modules()}
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    encoder.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 0.0
        layer.num_batches_tracked = None  # not counted
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
        for part, mode in modes.items():
            part.training = mode
