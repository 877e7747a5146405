"""Population-based training (PBT): each trial continues an earlier one, the bad ones from the good.

Jaderberg et al., Population Based Training of Neural Networks, 2017, arXiv:1711.09846.

A trial is a segment of a member's training. The first P trials are the first segments of P members.
Trial n continues the member of the (n - P)-th trial that has finished. So at most P trials run at a
time, no worker waits while a member is free, and everything is a function of the finished trials in
order of completion.

Shapes: D gene.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from evossl.genes import GeneValue
from evossl.rng import derive_seed
from evossl.search.box_sampler import Point
from evossl.search.unit_box import has_order, position_of, value_at

DEFAULT_POPULATION = 8
MIN_POPULATION = 4  # with fewer members, no quarter is a member
FACTORS = (0.8, 1.2)  # by which a copied gene is multiplied, in the unit box
RESAMPLE_PROBABILITY = 0.25  # of each copied gene; otherwise a gene at 0 would stay there
MAX_RESAMPLED = 2.0  # expected number of resampled genes


@dataclass(frozen=True)
class Origin:
    """What a new segment starts from.

    Attributes:
        parent: number of the finished trial whose checkpoint it starts from.
        perturbs: whether its genes are perturbed (a copy) or the parent's own.
    """

    parent: int
    perturbs: bool


class Population:
    """The members of a population, their finished segments, and what the next segment starts from.

    Args:
        size: P, the number of members.
        seed: of all draws.
        parameters: of the search: evolving weights and other genes.
    """

    def __init__(self, size: int, seed: int, parameters: Mapping[str, BaseDistribution]) -> None:
        self._size = size
        self._seed = seed
        self._parameters = parameters
        self._evolving: dict[int, Mapping[str, GeneValue]] = {}
        self._order: list[int] = []  # finished trials
        self._value: dict[int, float] = {}
        self._segment: dict[int, int] = {}  # of a trial: how many segments it inherits
        self._by_member: list[list[int]] = [[] for _ in range(size)]
        self._member: dict[int, int] = {}

    def can_continue(self, number: int) -> bool:
        """Return whether trial `number` can be proposed: a member is free to take it."""
        return number < self._size or number - self._size < len(self._order)

    def add(
        self, number: int, parent: int | None, evolving: Mapping[str, GeneValue], value: float
    ) -> None:
        """Append a finished trial; its value (lower is better) is infinite if it failed."""
        member = number if number < self._size else self._member[self._order[number - self._size]]
        self._member[number] = member
        self._segment[number] = 0 if parent is None else self._segment[parent] + 1
        self._value[number] = value
        self._evolving[number] = evolving
        self._order.append(number)
        self._by_member[member].append(number)

    def propose(self, number: int) -> tuple[dict[str, GeneValue], int | None]:
        """Return the weights and genes of trial `number`, and its parent or None."""
        origin = self.origin(number)
        if origin is not None and not origin.perturbs:
            return dict(self._evolving[origin.parent]), origin.parent
        rng = np.random.default_rng(derive_seed(self._seed, "trial", number))
        if origin is None:
            return self._values_at(rng.uniform(size=len(self._parameters))), None
        values, parameters = self._evolving[origin.parent], self._parameters
        parent_D = np.array([position_of(values[name], p) for name, p in parameters.items()])
        has_order_D = np.array([has_order(p) for p in parameters.values()])
        changed = self._values_at(perturb(parent_D, has_order_D, rng))
        return changed, origin.parent

    def _values_at(self, point_D: Point) -> dict[str, GeneValue]:
        """Return the values of all parameters at a point of the unit box."""
        return {
            name: value_at(float(position), parameter)
            for (name, parameter), position in zip(self._parameters.items(), point_D, strict=True)
        }

    def living(self) -> list[int]:
        """Return the newest trial of each member that has not failed: what can be inherited."""
        newest = (self._newest(member) for member in range(self._size))
        return [number for number in newest if number is not None]

    def origin(self, number: int) -> Origin | None:
        """Return what trial `number` starts from, or None for the initial weights.

        A member continues its own last segment with the same genes, unless that segment failed or
        is among the worst quarter. Then it copies one of the best quarter, drawn at random, and
        perturbs its genes.

        A segment is compared with the newest segment of each other member that has trained no
        longer: with the same segment where there is one. The best quarter is that of the newest
        segments, whatever their length, since the aim is the best encoder.
        """
        if number < self._size:
            return None
        last, living = self._order[number - self._size], self.living()
        if not living:
            return None
        ranked = sorted(living, key=lambda trial: (self._value[trial], trial))
        best = ranked[: max(1, len(ranked) // 4)]
        if last in best or (isfinite(self._value[last]) and not self._is_among_the_worst(last)):
            return Origin(last, perturbs=False)
        rng = np.random.default_rng(derive_seed(self._seed, "parent", number))
        return Origin(best[rng.integers(len(best))], perturbs=True)

    def _is_among_the_worst(self, last: int) -> bool:
        """Return whether a finished segment is in the worst quarter of those it is compared with.

        The quarter is rounded down, so nobody is in it until four members can be compared.
        """
        others = [
            self._newest(member, self._segment[last])
            for member in range(self._size)
            if member != self._member[last]
        ]
        values = [self._value[other] for other in others if other is not None]
        num_better = sum(value < self._value[last] for value in values)
        num_compared = len(values) + 1
        return num_better >= num_compared - num_compared // 4

    def _newest(self, member: int, max_segment: int | None = None) -> int | None:
        """Return a member's newest trial that has not failed, of at most the given segment."""
        for number in reversed(self._by_member[member]):
            is_short = max_segment is None or self._segment[number] <= max_segment
            if is_short and isfinite(self._value[number]):
                return number
        return None


def perturb(point_D: Point, has_order_D: NDArray[np.bool_], rng: np.random.Generator) -> Point:
    """Return a copied trial's genes, perturbed in the unit box.

    Each gene is multiplied by 0.8 or 1.2 and clipped to the box, or resampled with a probability of
    0.25. With more than 8 genes, the probability is lower, so that 2 are expected to be resampled:
    a copy that differs in a quarter of 140 weights would be a random point. A gene at its lower
    bound, such as a weight of 0, leaves it only when it is resampled, and so does a choice without
    an order.
    """
    num_genes = len(point_D)
    probability = min(RESAMPLE_PROBABILITY, MAX_RESAMPLED / num_genes)
    is_resampled_D = rng.random(num_genes) < probability
    factor_D = np.where(has_order_D, rng.choice(FACTORS, num_genes), 1.0)
    multiplied_D = np.clip(point_D * factor_D, 0.0, 1.0)
    return np.where(is_resampled_D, rng.uniform(size=num_genes), multiplied_D)
