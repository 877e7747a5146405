"""LARS: SGD that scales the step of each weight tensor by the norm of the weights.

You, Gitman, Ginsburg, Large Batch Training of Convolutional Networks, 2017, algorithm 1. As in
SimCLR and BYOL, biases and norms (tensors of one dimension) take plain SGD steps.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

TRUST_COEFFICIENT = 1e-3  # eta: ratio of step norm to weight norm at learning rate 1


class Lars(torch.optim.Optimizer):
    """velocity <- momentum * velocity + rate * (grad + decay * w); w <- w - lr * velocity.

    Here rate = eta * |w| / (|grad| + decay * |w|). For tensors of one dimension, and where a norm
    is zero, the gradient alone is added to the velocity.

    Args:
        params: parameter groups, each with its own `weight_decay`.
        lr: learning rate.
        momentum: of the velocity.
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        assert closure is None, "closures are not supported"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    velocity = self._velocity(weight)
                    velocity.mul_(group["momentum"])
                    velocity.add_(_scaled_gradient(weight, weight.grad, group["weight_decay"]))
                    weight.sub_(velocity, alpha=group["lr"])

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def _scaled_gradient(weight: Tensor, grad: Tensor, decay: float) -> Tensor:
    """Return the gradient with decay, scaled by LARS, without moving a value off the device.

    Tensors are recognised by their dimension, not by having weight decay as in other
    implementations: a space without weight decay would else train at a thousand times its rate.
    """
    if weight.ndim <= 1:
        return grad
    weight_norm, grad_norm = weight.norm(), grad.norm()
    rate = TRUST_COEFFICIENT * weight_norm / (grad_norm + decay * weight_norm)
    return torch.where((weight_norm > 0) & (grad_norm > 0), rate * (grad + decay * weight), grad)
