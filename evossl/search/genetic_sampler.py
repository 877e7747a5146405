"""A steady-state genetic algorithm: no generation, so no trial comes too late to breed.

Tournaments among the newest finished trials: Real et al., Regularized Evolution for Image
Classifier Architecture Search, AAAI 2019, arXiv:1802.01548; uniform crossover: Syswerda, ICGA 1989.

Shapes: D weight.
"""

import heapq
from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution

from evossl.search.box_sampler import BoxSampler, Scored, Unit

TOURNAMENT = 5  # contestants for each parent
ELITES = 3  # best of all times, which stay among the contestants
MUTATION_SD = 0.1  # of the unit box
MUTATED_WEIGHTS = 3.0  # expected number in a child


class GeneticSampler(BoxSampler):
    """Tournament, uniform crossover, Gaussian mutation clipped to the box, elitism.

    Args:
        seed: of all draws.
        space: as `BoxSampler`.
        population: how many of the newest finished trials may breed; until then, random draws.
    """

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        population: int = 20,
    ) -> None:
        super().__init__(seed, space)
        self._population = population

    def _propose(self, scored: list[Scored], num_weights: int, rng: np.random.Generator) -> Unit:
        if len(scored) < self._population:
            return rng.uniform(size=num_weights)
        elites = heapq.nsmallest(ELITES, scored, key=lambda one: one.value)
        newest = scored[-self._population :]
        contestants = newest + [one for one in elites if one not in newest]
        mother, father = (_tournament(contestants, rng) for _ in range(2))
        child_D = np.where(rng.random(num_weights) < 0.5, mother.unit_D, father.unit_D)
        mutated_D = rng.random(num_weights) < MUTATED_WEIGHTS / num_weights
        child_D = child_D + mutated_D * rng.normal(0.0, MUTATION_SD, num_weights)
        return np.clip(child_D, 0.0, 1.0)


def _tournament(contestants: list[Scored], rng: np.random.Generator) -> Scored:
    drawn = rng.permutation(len(contestants))[:TOURNAMENT]
    winner: Scored = min((contestants[i] for i in drawn), key=lambda one: one.value)
    return winner
