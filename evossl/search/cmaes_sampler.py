"""CMA-ES that wastes no parallel trial: finished trials are replayed into `cmaes.CMA`.

Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772. The library is told whatever has
finished whenever a population's worth has, whoever proposed it and when: optuna's own sampler
waits for a generation and throws away the trials that end after it.

Where each task has been tried alone, the search starts leaning to those that did well: a corner of
the box is too far from its centre to be told as a step.

Shapes: D weight.
"""

from collections.abc import Mapping

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution

from evossl.search.box_sampler import BoxSampler, Scored, Unit

INITIAL_SIGMA = 0.2  # of the unit box, around its centre
LEAN = 0.25  # from the centre: where the best task alone starts; the worst as far below


class CmaEsSampler(BoxSampler):
    """CMA-ES on the unit box.

    Args:
        seed: of all draws.
        space: as `BoxSampler`.
        population: how many finished trials make a step; None: 4 + floor(3 ln D).
        single_task_sets: the weights of each single-task trial; until all have finished, the
            search stays around the centre.
    """

    min_weights = 2  # cmaes.CMA refuses one

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        population: int | None = None,
        single_task_sets: tuple[frozenset[str], ...] = (),
    ) -> None:
        super().__init__(seed, space)
        self._population = population
        corners = ([float(name in names) for name in space or ()] for names in single_task_sets)
        self._corners = {np.array(corner).tobytes(): i for i, corner in enumerate(corners)}
        self._alone = single_task_sets
        self._forget()

    def _forget(self) -> None:
        self._cma: CMA | None = None
        self._num_told = 0
        self._num_sorted = 0
        self._lone: dict[int, float] = {}
        self._steps: list[Scored] = []

    def _propose(self, scored: list[Scored], num_weights: int, rng: np.random.Generator) -> Unit:
        self._sort(scored)
        if len(self._lone) < len(self._corners):
            return self._ask(self._start(np.full(num_weights, 0.5)), rng)
        cma = self._cma or self._start(self._lean(num_weights))
        while len(self._steps) - self._num_told >= cma.population_size:
            end = self._num_told + cma.population_size
            cma.tell(_ranked(self._steps[self._num_told : end]))
            self._num_told = end
            if cma.should_stop():  # converged to the last digit or degenerate: begin again, wide
                cma = self._start(self._lean(num_weights))
        self._cma = cma
        return self._ask(cma, rng)

    def _sort(self, scored: list[Scored]) -> None:
        """Tell the tasks that were tried alone from the steps of the search."""
        for one in scored[self._num_sorted :]:
            index = self._corners.get(one.unit_D.tobytes())
            if index is None or index in self._lone:
                self._steps.append(one)
            else:
                self._lone[index] = one.value
        self._num_sorted = len(scored)

    def _lean(self, num_weights: int) -> Unit:
        """The centre, moved by the ranks of the tasks alone; weights of no such task stay there."""
        mean_D = np.full(num_weights, 0.5)
        order = sorted(self._lone, key=lambda index: self._lone[index])
        names = list(self._box)
        for index, share in zip(order, np.linspace(LEAN, -LEAN, len(order)), strict=True):
            mean_D[[names.index(name) for name in self._alone[index]]] += share
        return mean_D

    def _ask(self, cma: CMA, rng: np.random.Generator) -> Unit:
        cma.reseed_rng(int(rng.integers(2**32)))
        unit_D: Unit = cma.ask()
        return unit_D

    def _start(self, mean_D: Unit) -> CMA:
        return CMA(
            mean=mean_D,
            sigma=INITIAL_SIGMA,
            bounds=np.tile([0.0, 1.0], (len(mean_D), 1)),
            n_max_resampling=0,  # clip at once: a weight of exactly 0 must be reachable
            population_size=self._population,
            seed=0,  # every ask reseeds
        )


def _ranked(population: list[Scored]) -> list[tuple[Unit, float]]:
    """The population with ranks for values: all that CMA-ES uses, and finite for failed trials."""
    order = sorted(population, key=lambda scored: scored.value)
    return [(scored.unit_D, float(rank)) for rank, scored in enumerate(order)]
