"""The optimiser that a space chooses, and the learning rate of a step."""

from collections.abc import Iterable

import torch
from torch import nn

from evossl.config import Optimiser
from evossl.optim.lars import Lars
from evossl.optim.schedule import parameter_groups, share_of_rate

MOMENTUM = 0.9
MOMENTS = {"adamw": 2, "sgd": 1, "lars": 1}  # that each keeps of a weight


def build_optimiser(
    encoders: Iterable[nn.Parameter], heads: Iterable[nn.Parameter], choice: Optimiser
) -> torch.optim.Optimizer:
    """Return AdamW, SGD (Nesterov) or LARS; no weight decay on biases and norms.

    Args:
        encoders: their learning rate is `lr`.
        heads: theirs is `lr` times `head_lr_mult`.
        choice: of the space.
    """
    groups = [
        group | {"times": times}
        for parameters, times in ((encoders, 1.0), (heads, choice.head_lr_mult))
        for group in parameter_groups(parameters, choice.weight_decay)
    ]
    optimiser: torch.optim.Optimizer
    if choice.name == "sgd":
        optimiser = torch.optim.SGD(groups, lr=choice.lr, momentum=MOMENTUM, nesterov=True)
    elif choice.name == "lars":
        optimiser = Lars(groups, lr=choice.lr, momentum=MOMENTUM)
    else:
        optimiser = torch.optim.AdamW(groups, lr=choice.lr, foreach=True)
    set_learning_rate(optimiser, choice.lr)
    return optimiser


def learning_rate(step: int, num_steps: int, choice: Optimiser) -> float:
    """Return the learning rate of a step: warm-up, then a cosine to zero."""
    return choice.lr * share_of_rate(step, num_steps, choice.warmup_fraction)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give the encoders the learning rate `lr`, the heads `head_lr_mult` times as much."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["times"]
