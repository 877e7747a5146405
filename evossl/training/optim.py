"""Optimiser and learning-rate schedule: the schedule is a function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from evossl.config import Optimiser


def build_optimiser(parameters: Iterable[nn.Parameter], choice: Optimiser) -> torch.optim.Optimizer:
    """Return AdamW or SGD (Nesterov momentum 0.9); no weight decay on biases and norms."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": choice.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if choice.name == "sgd":
        return torch.optim.SGD(groups, lr=choice.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=choice.lr)


def learning_rate(step: int, num_steps: int, choice: Optimiser) -> float:
    """Linear warm-up over `warmup` of the steps, then a cosine to zero (Loshchilov, Hutter 2017).

    >>> learning_rate(0, 10, Optimiser(lr=1.0, warmup=0.0))
    1.0
    """
    warmup = round(choice.warmup * num_steps)
    if step < warmup:
        return choice.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return choice.lr * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of parameters the learning rate `lr`."""
    for group in optimiser.param_groups:
        group["lr"] = lr
