"""A term's own gradient, taken before the step's backward from the graph that it leaves whole."""

from collections.abc import Sequence

import torch
from torch import Tensor


def own_gradients(loss: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return d loss / d parameters, zeros where the loss does not reach; `.grad` is not touched."""
    if not loss.requires_grad:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
