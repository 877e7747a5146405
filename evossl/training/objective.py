"""The objective: L = sum_t lambda_t L_t / g_t over the active terms, and nothing but those."""

import math
from collections.abc import Mapping

from torch import Tensor

from evossl.errors import UserError


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse loss weights outside [0, 1], and a mapping in which all are zero.

    Raises:
        UserError: names the weights.
    """
    outside = {name: value for name, value in weights.items() if not 0 <= value <= 1}
    if outside:
        raise UserError(f"loss weights must lie in [0, 1], got {outside}")
    if not any(weights.values()):
        raise UserError("every loss weight is zero: give at least one term a weight")


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Rescale to sum 1, so that a search cannot choose "stay near random init" by shrinking all."""
    total = sum(weights.values())
    return {name: value / total for name, value in weights.items()}


def combine(
    losses: Mapping[str, Tensor], weights: Mapping[str, float], scales: Mapping[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the total and each term's weighted loss lambda_t L_t / g_t.

    Args:
        losses: scalars by term.
        weights: lambda of the active terms.
        scales: g, the gradient scale of every term of the run.

    Raises:
        KeyError: the terms with a loss are not exactly the active ones.
    """
    if losses.keys() != weights.keys():
        raise KeyError(f"expected losses {sorted(weights)}, got {sorted(losses)}")
    weighted = {name: losses[name] * (weights[name] / scales[name]) for name in losses}
    first, *others = weighted.values()
    return sum(others, start=first), weighted


def check_scales(scales: Mapping[str, float]) -> None:
    """Refuse a gradient scale that is zero or not finite.

    Raises:
        UserError: names the term; its loss does not reach the encoder, or blows up at once.
    """
    for name, scale in scales.items():
        if not (math.isfinite(scale) and scale > 0):
            raise UserError(
                f"{name}: its gradient at the initial weights has norm {scale}; "
                "it cannot be weighed against others: take it out of the space, or mend its loss"
            )
