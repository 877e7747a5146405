"""What training and fine-tuning share: the learning rate's schedule, and which weights decay.

The schedule is a function of the step, so that a resumed training needs no state of it.
"""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def share_of_rate(step: int, num_steps: int, warmup: float) -> float:
    """Return the share of the learning rate at a step, in [0, 1].

    Linear warm-up over the share `warmup` of the steps, then half a cosine to zero (Loshchilov,
    Hutter 2017).

    >>> share_of_rate(0, 10, warmup=0.0)
    1.0
    """
    rising = round(warmup * num_steps)
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, num_steps - rising)
    return 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """Return what is trained as two groups: matrices and kernels decay, biases and norms do not."""
    trained = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
