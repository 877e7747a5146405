"""Momentum encoders: copies of a network that follow it by an exponential moving average (EMA).

He, Fan, Wu, Xie, Girshick, Momentum Contrast, CVPR 2020, eq. 2.
"""

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def momentum_copy(online: Module) -> Module:
    """Return a frozen copy of a network, in train mode.

    In train mode, its BatchNorm normalises by the batch, like the student's. In eval mode it would
    use running statistics, which lag behind the weights, and student and target would differ by
    more than their weights.
    """
    return deepcopy(online).requires_grad_(False).train()


def cosine_ema_decay(start: float, progress: float) -> float:
    """Return the decay at a fraction `progress` of training: it rises from `start` to 1.

    The schedule is half a cosine (Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, section
    3.3).

    >>> [round(cosine_ema_decay(0.9, progress), 3) for progress in (0.0, 0.5, 1.0)]
    [0.9, 0.95, 1.0]
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_ema(pairs: Iterable[tuple[nn.Module, nn.Module]], decay: float) -> None:
    """Set each follower's weights to decay * weight + (1 - decay) * online weight; copy buffers.

    Buffers are the running statistics and counts of BatchNorm. They are averages over steps
    already, and averaging them again would make them lag behind the weights. A follower in train
    mode does not read them. Because they are copied, decay 0 makes the follower equal to the online
    network.

    Args:
        pairs: (online, follower) networks of the same architecture.
        decay: in [0, 1]; 0 copies the online weights, 1 changes no weight.
    """
    for online, follower in pairs:
        weights: list[Tensor] = list(online.parameters())
        averages: list[Tensor] = list(follower.parameters())
        torch._foreach_lerp_(averages, weights, 1.0 - decay)
        buffers, copies = list(online.buffers()), list(follower.buffers())
        if copies:
            torch._foreach_copy_(copies, buffers)
