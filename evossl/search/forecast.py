"""What a search will do with its trials, said before it starts: fixed, evolved, re-run."""

import math

from evossl.config import Sampler
from evossl.search.genotype import Genotype
from evossl.search.population import DEFAULT_POPULATION

SAMPLER_WORDS = {
    "cmaes": "CMA-ES",
    "ga": "the genetic algorithm",
    "nsga2": "NSGA-II",
    "pbt": "population-based training",
    "random": "random search",
    "tpe": "TPE",
}
MIN_GENERATIONS = 2  # with fewer, no proposal builds on a whole generation that did


def generation_size(sampler: Sampler, num_genes: int) -> int | None:
    """Return how many trials a sampler needs before its next proposals learn from them.

    None for samplers without generations, such as random search.
    """
    match sampler.name:
        case "cmaes":
            return sampler.population or 4 + math.floor(3 * math.log(max(1, num_genes)))
        case "ga" | "nsga2":
            return sampler.population or 20
        case "pbt":
            return sampler.population or DEFAULT_POPULATION
        case _:
            return None


def forecast(sampler: Sampler, genotype: Genotype, num_new: int, num_reruns: int) -> list[str]:
    """Return sentences about a search: how its trials divide, and a warning if too few evolve.

    Args:
        sampler: of the space.
        genotype: of the space.
        num_new: number of trials that are no re-runs.
        num_reruns: number of re-runs of the best trials.
    """
    if not genotype.evolves:
        return ["nothing evolves in this space: one trial, and no search"]
    num_single = min(len(genotype.single_task_sets), num_new - 1)
    num_proposed = num_new - 1 - num_single
    words = SAMPLER_WORDS[sampler.name]
    parts = ["1 of equal weights"]
    if num_single:
        parts.append(f"{num_single} of single tasks")
    parts.append(f"{num_proposed} that {words} proposes")
    if num_reruns:
        parts.append(f"{num_reruns} that repeat the best with other seeds")
    sentences = [f"{num_new + num_reruns} trials: {', '.join(parts)}"]
    size = generation_size(sampler, len(genotype.bounds))
    if size is None:
        return sentences
    all_fixed = 0 if sampler.name == "pbt" else 1 + len(genotype.single_task_sets)
    needed = MIN_GENERATIONS * size + all_fixed  # a population's first segments are fixed as well
    if num_new < needed:
        sentences.append(
            f"this is NOT an evolution: {1 + num_single} of {num_new} new trials are fixed; "
            f"{num_proposed} evolve, fewer than {MIN_GENERATIONS} generations of {size}. Set "
            f"budget.trials (--trials) to at least {needed + num_reruns}, or lower "
            "sampler.population"
        )
    return sentences
