"""The unit box: each parameter of a search is a coordinate from 0 to 1.

A float is mapped linearly, or by its logarithm. Integers and choices divide the interval into bins,
one for each value; those of integers are equally wide, or as wide as on a logarithmic scale.
"""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from evossl.genes import Gene, GeneValue, Range

MAX_DISCRETE = 64  # integers with more values are searched like floats, and rounded


def distributions(
    bounds: Mapping[str, tuple[float, float]], genes: Mapping[str, Gene]
) -> dict[str, BaseDistribution]:
    """Return optuna's description of all parameters: loss weights, then genes.

    Args:
        bounds: (low, high) of each evolving weight.
        genes: by their full keys.
    """
    weights = {name: FloatDistribution(low, high) for name, (low, high) in bounds.items()}
    return weights | {name: _distribution(gene) for name, gene in genes.items()}


def _distribution(gene: Gene) -> BaseDistribution:
    if not isinstance(gene, Range):
        return CategoricalDistribution(gene.choices)
    if gene.is_integer:
        return IntDistribution(int(gene.low), int(gene.high), log=gene.log)
    return FloatDistribution(gene.low, gene.high, log=gene.log)


def is_searchable(parameter: BaseDistribution) -> bool:
    """Say whether the parameter is a coordinate of the box: it has no step, and several values."""
    if isinstance(parameter, FloatDistribution):
        return parameter.step is None and not parameter.single()
    if isinstance(parameter, IntDistribution):
        return parameter.step == 1 and not parameter.single()
    return isinstance(parameter, CategoricalDistribution) and not parameter.single()


def num_values(parameter: BaseDistribution) -> int | None:
    """Return the number of values of an integer or of choices; None for a float."""
    if isinstance(parameter, CategoricalDistribution):
        return len(parameter.choices)
    if isinstance(parameter, IntDistribution):
        return parameter.high - parameter.low + 1
    return None


def has_order(parameter: BaseDistribution) -> bool:
    """Say whether near values are alike, which is false of choices."""
    return not isinstance(parameter, CategoricalDistribution)


def position_of(value: Any, parameter: BaseDistribution) -> float:
    """Return the coordinate of a value; the middle of its bin if it has one.

    Raises:
        ValueError: the value is none of the choices.
    """
    if isinstance(parameter, CategoricalDistribution):
        return (float(parameter.to_internal_repr(value)) + 0.5) / len(parameter.choices)
    low, high, log = _edges(parameter)
    if log:
        return (math.log(float(value)) - math.log(low)) / (math.log(high) - math.log(low))
    return (float(value) - low) / (high - low)


def value_at(position: float, parameter: BaseDistribution) -> GeneValue:
    """Return the value at a coordinate from 0 to 1."""
    if isinstance(parameter, CategoricalDistribution):
        index = min(int(position * len(parameter.choices)), len(parameter.choices) - 1)
        chosen: GeneValue = parameter.choices[index]  # type: ignore[assignment] # never None
        return chosen
    low, high, log = _edges(parameter)
    if log and 0 < position < 1:
        value = math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
    else:  # at 0 and 1 the bounds themselves, without an error of rounding
        value = low + position * (high - low)
    if isinstance(parameter, IntDistribution):
        return min(max(round(value), parameter.low), parameter.high)
    return min(max(value, low), high)


def _edges(parameter: BaseDistribution) -> tuple[float, float, bool]:
    """Return the values at 0 and at 1, and whether the scale is logarithmic."""
    if isinstance(parameter, IntDistribution):
        return parameter.low - 0.5, parameter.high + 0.5, parameter.log
    assert isinstance(parameter, FloatDistribution)
    return parameter.low, parameter.high, parameter.log
