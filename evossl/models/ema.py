"""Momentum encoders: followers of an online network by exponential moving average.

He, Fan, Wu, Xie, Girshick, Momentum Contrast, CVPR 2020, eq. 2.
"""

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def momentum_copy(encoder: Module) -> Module:
    """Return a frozen copy in train mode: its BatchNorm normalises by the batch, as the student's.

    In eval mode it would normalise by running statistics that lag behind the weights, and student
    and target would differ by more than their weights.
    """
    return deepcopy(encoder).requires_grad_(False).train()


def cosine_ema_decay(start: float, progress: float) -> float:
    """Return the decay at a share of the training: from `start` to 1 on half a cosine.

    Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, section 3.3.

    >>> [round(cosine_ema_decay(0.9, progress), 3) for progress in (0.0, 0.5, 1.0)]
    [0.9, 0.95, 1.0]
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_ema(pairs: Iterable[tuple[nn.Module, nn.Module]], decay: float) -> None:
    """Move each follower: weight <- decay * weight + (1 - decay) * online weight; buffers copied.

    Buffers are BatchNorm's running statistics and counts, already averages over steps: averaged
    once more they would lag behind the weights (and a count has no average). A follower in train
    mode does not read them; copied, a follower at decay 0 is the online network whole.

    Args:
        pairs: (online, follower), of the same architecture.
        decay: in [0, 1]; 0 copies, 1 keeps.
    """
    for online, follower in pairs:
        weights: list[Tensor] = list(online.parameters())
        averages: list[Tensor] = list(follower.parameters())
        torch._foreach_lerp_(averages, weights, 1.0 - decay)
        buffers, copies = list(online.buffers()), list(follower.buffers())
        if copies:
            torch._foreach_copy_(copies, buffers)
