"""The optimiser that a space chooses, and the learning rate of a step."""

from collections.abc import Iterable

import torch
from torch import nn

from evossl.config import Optimiser
from evossl.schedule import parameter_groups, share_of_rate


def build_optimiser(parameters: Iterable[nn.Parameter], choice: Optimiser) -> torch.optim.Optimizer:
    """Return AdamW or SGD (Nesterov momentum 0.9); no weight decay on biases and norms."""
    groups = parameter_groups(parameters, choice.weight_decay)
    if choice.name == "sgd":
        return torch.optim.SGD(groups, lr=choice.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=choice.lr)


def learning_rate(step: int, num_steps: int, choice: Optimiser) -> float:
    """Return the learning rate of a step: warm-up, then a cosine to zero."""
    return choice.lr * share_of_rate(step, num_steps, choice.warmup)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of parameters the learning rate `lr`."""
    for group in optimiser.param_groups:
        group["lr"] = lr
