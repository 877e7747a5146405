"""Samplers, each as a function of (seed, trial number, finished trials in order of completion)."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from evossl import config
from evossl.errors import UserError
from evossl.genes import GeneValue
from evossl.rng import derive_seed
from evossl.search.cmaes_sampler import CmaEsSampler, SingleTask
from evossl.search.genetic_sampler import GeneticSampler
from evossl.search.genotype import Genotype
from evossl.search.population import DEFAULT_POPULATION, MIN_POPULATION, Population
from evossl.search.unit_box import distributions

Propose = Callable[[optuna.Study, int], dict[str, GeneValue]]
_MIN_POPULATION = {"cmaes": 4, "ga": 2, "nsga2": 2, "pbt": MIN_POPULATION}
_NSGA2_POPULATION = 20
_PARENTS_KEY = "parents"  # attribute: (newest generation with parents, the parents' numbers)


class CompletionNSGAII(NSGAIISampler):
    """NSGA-II whose generations are successive populations of finished trials.

    optuna assigns a trial to the generation in which it was proposed. If it finishes after the
    next generation's parents are chosen, it never becomes a parent. Here every finished trial can.
    """

    def __init__(self, population: int, seed: int) -> None:
        super().__init__(population_size=population, seed=seed)
        self._size = population

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the generation that is being proposed."""
        return len(study.get_trials(deepcopy=False)) // self._size

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the finished trials of a generation."""
        start = generation * self._size
        return study.get_trials(deepcopy=False)[start : start + self._size]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation, sorted by number.

        optuna's own method returns them in a different order from its cache than after selecting
        them, so a resumed search would differ; and it recurses down to the first generation.
        """
        newest, numbers = study.user_attrs.get(_PARENTS_KEY, (0, []))
        for later in range(newest + 1, generation + 1):
            numbers = sorted(trial.number for trial in self.select_parent(study, later))
            study.set_user_attr(_PARENTS_KEY, (later, numbers))
        trials = study.get_trials(deepcopy=False)
        return [trials[number] for number in numbers]


def check_sampler(
    choice: config.Sampler, genotype: Genotype, num_trials: int | None = None
) -> None:
    """Check the population of a sampler.

    Args:
        choice: the sampler.
        genotype: of the search.
        num_trials: how many trials are planned, or None if that is unknown.

    Raises:
        UserError: the sampler has no population, or needs a larger one or more trials.
    """
    least = _MIN_POPULATION.get(choice.name)
    if choice.population is not None:
        if least is None:
            raise UserError(f"sampler.population: {choice.name} has no population; remove the key")
        if choice.population < least:
            raise UserError(
                f"sampler.population: {choice.name} needs at least {least}, not "
                f"{choice.population}; raise it, or remove the key"
            )
    if choice.name == "pbt" and genotype.evolves:
        _check_pbt(choice.population or DEFAULT_POPULATION, genotype, num_trials)


def _check_pbt(size: int, genotype: Genotype, num_trials: int | None) -> None:
    num_initial = 1 + len(genotype.single_task_sets)
    if size < num_initial:
        raise UserError(
            f"sampler.population: {size} members are too few for sampler.single_tasks_first, whose "
            f"{num_initial} trials are members; raise it, or remove single_tasks_first"
        )
    if num_trials is not None and num_trials < 2 * size:
        raise UserError(
            f"budget.trials: {num_trials} new trials (re-runs aside): with a population of "
            f"{size}, pbt needs at least {2 * size}, or no trial inherits from another; raise it, "
            "or lower sampler.population"
        )


def make_population(choice: config.Sampler, seed: int, genotype: Genotype) -> Population | None:
    """Return the population of population-based training, or None for other samplers."""
    if choice.name != "pbt" or not genotype.evolves:
        return None
    parameters = distributions(genotype.bounds, genotype.genes)
    return Population(choice.population or DEFAULT_POPULATION, seed, parameters)


def make_proposer(choice: config.Sampler, seed: int, genotype: Genotype) -> Propose:
    """Return a function from (finished trials in order, next number) to its evolving values.

    Population-based training has none: see `make_population`.
    """
    space = distributions(genotype.bounds, genotype.genes)
    starts = [genotype.initial_values(i + 1) or {} for i in range(len(genotype.single_task_sets))]
    single_tasks = list(zip(genotype.single_task_sets, starts, strict=True))
    sampler_for = _sampler_factory(choice, seed, space, single_tasks)

    def propose(finished: optuna.Study, number: int) -> dict[str, GeneValue]:
        sampler, trial = sampler_for(number), _new_trial(number)
        relative_space = sampler.infer_relative_search_space(finished, trial)
        values = sampler.sample_relative(finished, trial, relative_space)
        for name, distribution in space.items():
            if name not in values:
                values[name] = sampler.sample_independent(finished, trial, name, distribution)
        return {name: _plain(values[name]) for name in space}

    return propose


def _plain(value: Any) -> GeneValue:
    """Return a value without numpy's types, which JSON does not know."""
    plain: GeneValue = value.item() if isinstance(value, np.generic) else value
    return plain


def _sampler_factory(
    choice: config.Sampler,
    seed: int,
    space: Mapping[str, BaseDistribution],
    single_tasks: Sequence[SingleTask],
) -> Callable[[int], BaseSampler]:
    """Return a function from a trial's number to its sampler.

    optuna's samplers have a random state that a resumed search would lack, so a new one is made
    for every trial, seeded by (seed, number).
    """

    def trial_seed(number: int) -> int:
        return derive_seed(seed, "trial", number) % 2**32  # numpy takes 32 bits

    if choice.name == "cmaes" and len(space) >= CmaEsSampler.min_parameters:
        cmaes = CmaEsSampler(seed, space, choice.population, single_tasks)
        return lambda _: cmaes
    if choice.name in ("cmaes", "ga"):  # CMA-ES needs at least two parameters
        genetic = GeneticSampler(seed, space)
        if choice.name == "ga" and choice.population:
            genetic = GeneticSampler(seed, space, choice.population)
        return lambda _: genetic
    if choice.name == "random":
        return lambda number: RandomSampler(seed=trial_seed(number))
    if choice.name == "tpe":
        return lambda number: _tpe(trial_seed(number))
    population = choice.population or _NSGA2_POPULATION
    return lambda number: CompletionNSGAII(population, seed=trial_seed(number))


def _tpe(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # constant_liar needs the running trials, which samplers do not see
        return TPESampler(seed=seed, multivariate=True, constant_liar=False)


def _new_trial(number: int) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
