"""The objective: L = sum_t lambda_t L_t / g_t over exactly the active terms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from evossl.errors import UserError


@dataclass(frozen=True)
class Objective:
    """The weighted sum of the active terms' losses.

    Attributes:
        weights: lambda, the loss weight of each active term.
        scales: g, the gradient scale of every term of the run.
    """

    weights: Mapping[str, float]
    scales: Mapping[str, float]

    def combine(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and each term's weighted loss lambda_t L_t / g_t.

        Args:
            losses: one scalar per term.

        Raises:
            KeyError: the terms with a loss are not exactly the active ones.
        """
        if losses.keys() != self.weights.keys():
            raise KeyError(f"expected losses of {sorted(self.weights)}, got {sorted(losses)}")
        weighted = {
            name: losses[name] * (self.weights[name] / self.scales[name]) for name in losses
        }
        first, *others = weighted.values()
        return sum(others, start=first), weighted


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse loss weights outside [0, 1], and weights that are all zero.

    Raises:
        UserError: lists the weights that are out of range.
    """
    outside = {name: value for name, value in weights.items() if not 0 <= value <= 1}
    if outside:
        raise UserError(f"loss weights must lie in [0, 1], got {outside}")
    if not any(weights.values()):
        raise UserError("every loss weight is zero: give at least one term a positive weight")


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights rescaled to sum to 1.

    Without this, a search could win by shrinking every weight and staying near the initial weights.
    """
    total = sum(weights.values())
    return {name: value / total for name, value in weights.items()}


def check_scales(scales: Mapping[str, float]) -> None:
    """Refuse a gradient scale that is zero or not finite.

    Raises:
        UserError: names the term. Its loss does not reach the encoder, or overflows at once.
    """
    for name, scale in scales.items():
        if not (math.isfinite(scale) and scale > 0):
            raise UserError(
                f"{name}: the norm of its gradient at the initial weights is {scale}, so it cannot "
                "be weighted against other terms: remove it from the space, or fix its loss"
            )
