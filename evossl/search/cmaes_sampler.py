"""CMA-ES that wastes no parallel trial: finished trials are replayed into `cmaes.CMA`.

Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772. The library is told whatever has
finished whenever a population's worth has, whoever proposed it and when: optuna's own sampler
waits for a generation and throws away the trials that end after it.

Shapes: D weight.
"""

from collections.abc import Mapping

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution

from evossl.search.box_sampler import BoxSampler, Scored, Unit

INITIAL_SIGMA = 0.2  # of the unit box, around its centre


class CmaEsSampler(BoxSampler):
    """CMA-ES on the unit box.

    Args:
        seed: of all draws.
        space: as `BoxSampler`.
        population: how many finished trials make a step; None: 4 + floor(3 ln D).
    """

    min_weights = 2  # cmaes.CMA refuses one

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        population: int | None = None,
    ) -> None:
        super().__init__(seed, space)
        self._population = population
        self._forget()

    def _forget(self) -> None:
        self._cma: CMA | None = None
        self._num_told = 0

    def _propose(self, scored: list[Scored], num_weights: int, rng: np.random.Generator) -> Unit:
        cma = self._cma or self._start(num_weights)
        while len(scored) - self._num_told >= cma.population_size:
            end = self._num_told + cma.population_size
            cma.tell(_ranked(scored[self._num_told : end]))
            self._num_told = end
            if cma.should_stop():  # converged to the last digit or degenerate: begin again, wide
                cma = self._start(num_weights)
        self._cma = cma
        cma.reseed_rng(int(rng.integers(2**32)))
        unit_D: Unit = cma.ask()
        return unit_D

    def _start(self, num_weights: int) -> CMA:
        return CMA(
            mean=np.full(num_weights, 0.5),
            sigma=INITIAL_SIGMA,
            bounds=np.tile([0.0, 1.0], (num_weights, 1)),
            n_max_resampling=0,  # clip at once: a weight of exactly 0 must be reachable
            population_size=self._population,
            seed=0,  # every ask reseeds
        )


def _ranked(population: list[Scored]) -> list[tuple[Unit, float]]:
    """The population with ranks for values: all that CMA-ES uses, and finite for failed trials."""
    order = sorted(population, key=lambda scored: scored.value)
    return [(scored.unit_D, float(rank)) for rank, scored in enumerate(order)]
