"""A steady-state genetic algorithm: it has no generations, so every finished trial may be a parent.

It is our own because optuna's genetic samplers (NSGA-II and III) are generational and made for
several objectives.

Tournaments among the newest finished trials: Real et al., Regularized Evolution for Image
Classifier Architecture Search, AAAI 2019, arXiv:1802.01548. Uniform crossover: Syswerda, ICGA 1989.

Shapes: D parameter.
"""

import heapq
from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution

from evossl.search.box_sampler import BoxSampler, Point, ScoredTrial
from evossl.search.unit_box import has_order, num_values

TOURNAMENT_SIZE = 5  # candidates for each parent
NUM_ELITES = 3  # best trials of all, which are always candidates
MUTATION_SD = 0.1  # of the unit box; at least the width of an integer's bin
EXPECTED_MUTATIONS = 3.0  # parameters of a child


class GeneticSampler(BoxSampler):
    """Tournament selection, uniform crossover, Gaussian mutation clipped to the box, elitism.

    A mutated choice is drawn anew.

    Args:
        seed: of all draws.
        space: as in `BoxSampler`.
        population: number of newest finished trials that are candidates; with fewer finished
            trials, draws are random.
    """

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        population: int = 20,
    ) -> None:
        super().__init__(seed, space)
        self._population = population

    def _propose(
        self, scored: list[ScoredTrial], box: list[BaseDistribution], rng: np.random.Generator
    ) -> Point:
        size = len(box)
        if len(scored) < self._population:
            return rng.uniform(size=size)
        elites = heapq.nsmallest(NUM_ELITES, scored, key=lambda trial: trial.value)
        newest = scored[-self._population :]
        candidates = newest + [trial for trial in elites if trial not in newest]
        mother, father = (_select(candidates, rng) for _ in range(2))
        child_D = np.where(rng.random(size) < 0.5, mother.point_D, father.point_D)
        is_mutated_D = rng.random(size) < EXPECTED_MUTATIONS / size
        step_D = rng.normal(0.0, MUTATION_SD, size) * _relative_steps(box)
        child_D = np.clip(child_D + is_mutated_D * step_D, 0.0, 1.0)
        is_choice_D = np.array([not has_order(parameter) for parameter in box])
        if is_choice_D.any():
            child_D = np.where(is_mutated_D & is_choice_D, rng.random(size), child_D)
        return child_D


def _relative_steps(box: list[BaseDistribution]) -> Point:
    """Return the standard deviation of each mutation, in units of `MUTATION_SD`; 0 for choices."""
    widths = [1 / (num_values(parameter) or np.inf) for parameter in box]
    return np.array(
        [
            max(1.0, width / MUTATION_SD) if has_order(parameter) else 0.0
            for width, parameter in zip(widths, box, strict=True)
        ]
    )


def _select(candidates: list[ScoredTrial], rng: np.random.Generator) -> ScoredTrial:
    """Return the winner of a tournament."""
    drawn = rng.permutation(len(candidates))[:TOURNAMENT_SIZE]
    winner: ScoredTrial = min((candidates[i] for i in drawn), key=lambda trial: trial.value)
    return winner
