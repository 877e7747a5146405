"""CMA-ES that uses every parallel trial: finished trials are replayed into `cmaes.CMA`.

Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772.

The sampler is our own because optuna's waits for a whole generation and discards trials that finish
after it. Here the optimiser is updated whenever a population's worth of trials has finished,
whichever proposals they came from.

If the search begins with single-task trials, the initial mean leans towards the tasks that did
well in them. Such trials are corners of the box, too far from its centre to be used as a step.

Shapes: D parameter.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution

from evossl.genes import GeneValue
from evossl.search.box_sampler import BoxSampler, Point, ScoredTrial
from evossl.search.mixed_cma import MixedCma, is_mixed
from evossl.search.unit_box import position_of

SingleTask = tuple[frozenset[str], Mapping[str, GeneValue]]
"""The weights of a single-task trial that are at their upper bounds, and all of its values."""
INITIAL_SIGMA = 0.2  # of the unit box, around the initial mean
MAX_MEAN_SHIFT = 0.25  # from the centre: up for the best single task, down for the worst


class CmaEsSampler(BoxSampler):
    """CMA-ES on the unit box; with integers or choices, CatCMA with Margin.

    Args:
        seed: of all draws.
        space: as in `BoxSampler`.
        population: finished trials per update; None is 4 + floor(3 ln D).
        single_tasks: the weights of each single-task trial, and all of its values. Until all of
            these trials have finished, the search stays around the centre.
    """

    min_parameters = 2  # cmaes.CMA refuses a single one

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        population: int | None = None,
        single_tasks: Sequence[SingleTask] = (),
    ) -> None:
        super().__init__(seed, space)
        self._population = population
        self._single_task_sets = [names for names, _ in single_tasks]
        corners = [
            np.array([position_of(values[name], one) for name, one in (space or {}).items()])
            for _, values in single_tasks
        ]
        self._corner_index = {corner_D.tobytes(): i for i, corner_D in enumerate(corners)}
        self._reset()

    def _reset(self) -> None:
        self._cma: CMA | MixedCma | None = None
        self._num_separated = 0
        self._single_task_values: dict[int, float] = {}
        self._search_trials: list[ScoredTrial] = []
        self._num_replayed = 0

    def _propose(
        self, scored: list[ScoredTrial], box: list[BaseDistribution], rng: np.random.Generator
    ) -> Point:
        self._separate_single_tasks(scored)
        if len(self._single_task_values) < len(self._corner_index):
            return self._sample(self._new_cma(np.full(len(box), 0.5)), rng)
        cma = self._cma or self._new_cma(self._initial_mean(len(box)))
        while len(self._search_trials) - self._num_replayed >= cma.population_size:
            end = self._num_replayed + cma.population_size
            cma.tell(_ranked(self._search_trials[self._num_replayed : end]))
            self._num_replayed = end
            if cma.should_stop():  # converged to the last digit, or degenerate: restart
                cma = self._new_cma(self._initial_mean(len(box)))
        self._cma = cma
        return self._sample(cma, rng)

    def _separate_single_tasks(self, scored: list[ScoredTrial]) -> None:
        """Sort new trials into single-task trials and those of the search."""
        for trial in scored[self._num_separated :]:
            index = self._corner_index.get(trial.point_D.tobytes())
            if index is None or index in self._single_task_values:
                self._search_trials.append(trial)
            else:
                self._single_task_values[index] = trial.value
        self._num_separated = len(scored)

    def _initial_mean(self, size: int) -> Point:
        """Return the centre, shifted for each task by the rank of its single-task trial."""
        mean_D = np.full(size, 0.5)
        values = self._single_task_values
        best_first = sorted(values, key=lambda index: values[index])
        shifts = np.linspace(MAX_MEAN_SHIFT, -MAX_MEAN_SHIFT, len(best_first))
        names = list(self._box)
        for index, shift in zip(best_first, shifts, strict=True):
            mean_D[[names.index(name) for name in self._single_task_sets[index]]] += shift
        return mean_D

    def _sample(self, cma: CMA | MixedCma, rng: np.random.Generator) -> Point:
        cma.reseed_rng(int(rng.integers(2**32)))
        point_D: Point = cma.ask()
        return point_D

    def _new_cma(self, mean_D: Point) -> CMA | MixedCma:
        box = list(self._box.values())
        if is_mixed(box):
            return MixedCma(box, mean_D, INITIAL_SIGMA, self._population)
        return CMA(
            mean=mean_D,
            sigma=INITIAL_SIGMA,
            bounds=np.tile([0.0, 1.0], (len(mean_D), 1)),
            n_max_resampling=0,  # clip at once, so that a weight of exactly 0 can be proposed
            population_size=self._population,
            seed=0,  # replaced before every draw
        )


def _ranked(population: list[ScoredTrial]) -> list[tuple[Point, float]]:
    """Return the population with ranks as values: CMA-ES uses only these, and they are finite."""
    ordered = sorted(population, key=lambda trial: trial.value)
    return [(trial.point_D, float(rank)) for rank, trial in enumerate(ordered)]
