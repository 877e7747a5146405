"""The optimiser that a space chooses."""

from collections.abc import Iterable

import torch
from torch import nn

from evossl.config import Optimiser
from evossl.optim.lars import Lars
from evossl.optim.schedule import parameter_groups

MOMENTUM = 0.9
STATES_PER_WEIGHT = {"adamw": 2, "sgd": 1, "lars": 1}  # numbers that an optimiser stores


def build_optimiser(
    encoders: Iterable[nn.Parameter], heads: Iterable[nn.Parameter], choice: Optimiser
) -> torch.optim.Optimizer:
    """Return AdamW, SGD (Nesterov) or LARS, without weight decay on biases and norms.

    Args:
        encoders: parameters with the learning rate `choice.lr`.
        heads: parameters with `choice.lr` times `choice.head_lr_mult`.
        choice: the space's settings.
    """
    groups = [
        group | {"lr": lr}
        for parameters, lr in ((encoders, choice.lr), (heads, choice.lr * choice.head_lr_mult))
        for group in parameter_groups(parameters, choice.weight_decay)
    ]
    if choice.name == "sgd":
        return torch.optim.SGD(groups, lr=choice.lr, momentum=MOMENTUM, nesterov=True)
    if choice.name == "lars":
        return Lars(groups, lr=choice.lr, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, lr=choice.lr, foreach=True)
