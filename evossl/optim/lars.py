"""LARS: SGD whose step in each weight is as long as the weight, times a share.

You, Gitman, Ginsburg, Large Batch Training of Convolutional Networks, 2017, algorithm 1. As SimCLR
and BYOL use it, biases and norms (weights of one dimension) take plain SGD's step.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

TRUST = 1e-3  # eta: length of a step in that of the weight, at learning rate 1


class Lars(torch.optim.Optimizer):
    """velocity <- momentum * velocity + rate * (grad + decay * w); w <- w - lr * velocity.

    rate = eta * |w| / (|grad| + decay * |w|). Of a weight of one dimension, or where a norm is
    zero, the gradient alone is added to the velocity.

    Args:
        params: groups of parameters; each has its `weight_decay`.
        lr: learning rate.
        momentum: of the velocity.
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        assert closure is None, "the losses are computed before the step"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    velocity = self._velocity(weight)
                    velocity.mul_(group["momentum"])
                    velocity.add_(_scaled(weight, weight.grad, group["weight_decay"]))
                    weight.sub_(velocity, alpha=group["lr"])

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def _scaled(weight: Tensor, grad: Tensor, decay: float) -> Tensor:
    """The gradient with decay, as long as the weight says; no value leaves the device.

    Not told from the decay, as others do: a space without decay would train at a thousand times
    the rate that it means.
    """
    if weight.ndim <= 1:
        return grad
    size, slope = weight.norm(), grad.norm()
    rate = TRUST * size / (slope + decay * size)
    return torch.where((size > 0) & (slope > 0), rate * (grad + decay * weight), grad)
