"""The gradient of a single loss, computed before the step's backward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gradients_of(loss: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return d loss / d parameters, with zeros where the loss does not reach.

    The graph is retained for the step's own backward pass, and `.grad` is not changed.
    """
    if not loss.requires_grad:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
