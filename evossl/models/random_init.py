"""Untrained encoders, the baseline that every learned encoder must beat."""

from collections.abc import Iterable

import torch
from torch import Tensor

from evossl.config import Backbone
from evossl.models.encoder import Encoder, build_encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.types import Stream


def random_init(
    backbone: Backbone, seed: int, batches: Iterable[Tensor], device: torch.device
) -> Encoder:
    """Return an untrained RGB encoder on `device`, with BatchNorm statistics of clean clips.

    Without those statistics, activations could grow or vanish from layer to layer, and the
    baseline would be too easy to beat.

    Args:
        backbone: the architecture.
        seed: of the weights.
        batches: clean clips (B, 3, T, H, W) on `device`.
        device: of the encoder.

    Raises:
        RunError: no batch has two clips.
    """
    encoder = build_encoder(Stream.RGB, backbone, seed).to(device)
    update_bn_statistics(encoder, batches)
    return encoder
