"""The learning-rate schedule and the weight-decay groups that training and fine-tuning share."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def lr_factor(step: int, num_steps: int, warmup: float) -> float:
    """Return the factor in [0, 1] by which a step's learning rate is below its peak.

    Linear warm-up over the share `warmup` of the steps, then half a cosine down to zero
    (Loshchilov, Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017).

    >>> lr_factor(0, 10, warmup=0.0)
    1.0
    """
    warmup_steps = round(warmup * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def warmup_cosine(
    optimiser: Optimizer, num_steps: int, warmup: float, *, first_step: int = 0
) -> LambdaLR:
    """Return the schedule of an optimiser, and set the learning rate of its first step.

    The rate is a function of the step alone, so a resumed training needs no saved schedule state.

    Args:
        optimiser: freshly built; each group's `lr` is its peak learning rate.
        num_steps: steps of the whole training.
        warmup: share of the steps in which the rate rises.
        first_step: the step at which a training starts or resumes.
    """
    factor = partial(lr_factor, num_steps=num_steps, warmup=warmup)
    return scheduled(optimiser, factor, first_step)


def scheduled(
    optimiser: Optimizer, factor: Callable[[int], float], first_step: int = 0
) -> LambdaLR:
    """Return the schedule that multiplies an optimiser's peak learning rates by `factor(step)`."""
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group["lr"])  # LambdaLR needs it when it resumes
    return LambdaLR(optimiser, factor, last_epoch=first_step - 1)


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """Return the trained parameters as two groups: one with weight decay, and biases and norms."""
    trained = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
