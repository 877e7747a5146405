"""CMA-ES on a unit box that also has integers and choices, with the interface of `cmaes.CMA`.

Hamano et al., CatCMA with Margin, arXiv:2504.07884: a margin keeps each integer and each choice at
a probability from which the search can return to it.

Shapes: D coordinate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cmaes import CatCMAwM
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, IntDistribution

from evossl.search.unit_box import MAX_DISCRETE, has_order, num_values, position_of

Point = NDArray[np.float64]


def is_mixed(parameters: Sequence[BaseDistribution]) -> bool:
    """Say whether a box has coordinates that are not searched as continuous numbers."""
    return any((num_values(parameter) or np.inf) <= MAX_DISCRETE for parameter in parameters)


@dataclass(frozen=True)
class _Coordinates:
    """The coordinates of each kind; `CatCMAwM` numbers each kind from 0."""

    continuous: list[int]
    integers: list[int]
    choices: list[int]

    @classmethod
    def of(cls, parameters: Sequence[BaseDistribution]) -> "_Coordinates":
        found = cls([], [], [])
        for index, parameter in enumerate(parameters):
            count = num_values(parameter)
            if not has_order(parameter) or count == 2:  # the authors' advice for two integers
                found.choices.append(index)
            elif count is None or count > MAX_DISCRETE:
                found.continuous.append(index)
            else:
                found.integers.append(index)
        return found


class MixedCma:
    """CatCMA with Margin; a point's coordinates are those of `unit_box`.

    Args:
        parameters: one for each coordinate.
        mean_D: initial mean; choices begin with equal probabilities.
        sigma: initial standard deviation.
        population: number of points of an update; None is 4 + floor(3 ln D).
    """

    def __init__(
        self,
        parameters: Sequence[BaseDistribution],
        mean_D: Point,
        sigma: float,
        population: int | None,
    ) -> None:
        self._where = where = _Coordinates.of(parameters)
        self._num_choices = [num_values(parameters[index]) or 0 for index in where.choices]
        grids = [_positions(parameters[index]) for index in where.integers]
        num_ordered = len(where.continuous) + len(where.integers)
        self._cma = CatCMAwM(
            x_space=[[0.0, 1.0]] * len(where.continuous) or None,
            z_space=grids or None,
            c_space=self._num_choices or None,
            population_size=population,
            mean=mean_D[[*where.continuous, *where.integers]],
            sigma=sigma,
            cov=np.eye(num_ordered),
            seed=0,  # replaced before every draw
        )

    @property
    def population_size(self) -> int:
        """Number of points of an update."""
        size: int = self._cma.population_size
        return size

    def reseed_rng(self, seed: int) -> None:
        """Set the state of the random numbers."""
        self._cma.reseed_rng(seed)

    def ask(self) -> Point:
        """Return a point of the distribution."""
        return self._point(self._cma.ask())

    def tell(self, population: Sequence[tuple[Point, float]]) -> None:
        """Update the distribution with points and their values.

        The step size of the choices can diverge (in cmaes 0.13 its learning rate has no bound),
        which `should_stop` reports.
        """
        solutions = [(self._solution(point_D), value) for point_D, value in population]
        with np.errstate(invalid="ignore", divide="ignore"):
            self._cma.tell(solutions)

    def should_stop(self) -> bool:
        """Say whether the distribution has converged, or is degenerate."""
        try:
            drawn = self._cma.ask()
            has_choices = drawn.c is None or bool(drawn.c.any(axis=1).all())
            if not has_choices or not np.isfinite(self._point(drawn)).all():
                return True
            return bool(self._where.continuous or self._where.integers) and bool(
                self._cma.should_stop()
            )
        except np.linalg.LinAlgError:
            return True

    def _point(self, solution: CatCMAwM.Solution) -> Point:
        where = self._where
        point_D = np.empty(sum(map(len, (where.continuous, where.integers, where.choices))))
        if where.continuous:
            point_D[where.continuous] = solution.x
        if where.integers:
            point_D[where.integers] = solution.z
        for row, (index, count) in enumerate(zip(where.choices, self._num_choices, strict=True)):
            point_D[index] = (np.argmax(solution.c[row]) + 0.5) / count
        return point_D

    def _solution(self, point_D: Point) -> CatCMAwM.Solution:
        where = self._where
        x, z = point_D[where.continuous], point_D[where.integers]
        c = np.zeros((len(where.choices), max(self._num_choices, default=0)), dtype=bool)
        for row, (index, count) in enumerate(zip(where.choices, self._num_choices, strict=True)):
            c[row, min(int(point_D[index] * count), count - 1)] = True
        return CatCMAwM.Solution(x, z, c, np.concatenate([x, z]))


def _positions(parameter: BaseDistribution) -> list[float]:
    """Return the coordinate of each value of an integer."""
    assert isinstance(parameter, IntDistribution)
    values = range(parameter.low, parameter.high + 1)
    return [position_of(value, parameter) for value in values]
