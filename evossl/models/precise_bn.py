"""Precise BatchNorm: running statistics estimated anew on clean clips before features are used.

The moving averages of training include masked and shuffled views. Precise BatchNorm replaces them
by the population statistics of the clips that the encoder will be used on (Wu, Johnson, Rethinking
"Batch" in BatchNorm, 2021, section 3). fvcore's `update_bn_stats` computes the same statistics, but
it must know the number of batches beforehand, leaves train and eval modes to the caller, counts the
batches in `num_batches_tracked`, and does not restore the layers after an error; hence our own.

Shapes: C channel.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evossl.errors import RunError


class _InputMoments:
    """Forward pre-hook that accumulates mean and mean square of a layer's inputs, in float64."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.count = 0
        self.sum_C = torch.zeros(layer.num_features, dtype=torch.float64)
        self.square_sum_C = torch.zeros(layer.num_features, dtype=torch.float64)

    def __call__(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x: Tensor = inputs[0].detach()
        count = x.numel() // x.shape[1]
        dims = [dim for dim in range(x.ndim) if dim != 1]
        variance_C, mean_C = torch.var_mean(x.float(), dim=dims, correction=0)
        mean_C, variance_C = mean_C.double().cpu(), variance_C.double().cpu()
        self.count += count
        self.sum_C += count * mean_C
        self.square_sum_C += count * (variance_C + mean_C.square())

    def write(self) -> None:
        """Set the layer's running mean and variance to those accumulated."""
        mean_C = self.sum_C / self.count
        variance_C = (self.square_sum_C / self.count - mean_C.square()).clamp_min(0.0)
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        self.layer.running_mean.copy_(mean_C)
        self.layer.running_var.copy_(variance_C)


@torch.no_grad()
def update_bn_statistics(encoder: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running mean and variance of each BatchNorm to those of its inputs over the batches.

    During the update, BatchNorm normalises by the batch and everything else is in eval mode. The
    inputs of a layer therefore do not depend on the previous statistics, and updating twice changes
    nothing. Each value counts equally, whatever the size of its batch. Batches of one clip are
    skipped, because they have no variance between clips. Train and eval modes are restored.

    Args:
        encoder: changed in place. Without BatchNorm nothing is done, and no batch is read.
        batches: of pixels (B, C, T, H, W), on the encoder's device.

    Raises:
        RunError: no batch has at least two clips.
    """
    layers = [
        module
        for module in encoder.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not layers:
        return
    moments = [_InputMoments(layer) for layer in layers]
    handles = [m.layer.register_forward_pre_hook(m) for m in moments]
    try:
        with _normalising_by_batch(encoder, layers):
            for pixels in batches:
                if len(pixels) > 1:
                    encoder(pixels)
    finally:
        for handle in handles:
            handle.remove()
    updated = [m for m in moments if m.count]
    if not updated:
        raise RunError(
            "BatchNorm statistics cannot be estimated: at least one batch of 2 or more clean clips "
            "is needed. Provide more videos"
        )
    for m in updated:
        m.write()


@contextmanager
def _normalising_by_batch(encoder: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Put only `layers` into train mode, without updates of their statistics; restore on exit."""
    modes = {module: module.training for module in encoder.modules()}
    states = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    encoder.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 0.0
        layer.num_batches_tracked = None  # so that the batches are not counted
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, states, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
        for module, mode in modes.items():
            module.training = mode
