"""What is said of a search before it starts."""

import cmaes
import numpy as np
import pytest

from evossl.config import Sampler
from evossl.search.forecast import forecast, generation_size
from evossl.search.genotype import Genotype

WEIGHTS = {f"task{i}.rgb": (0.0, 1.0) for i in range(11)}
SINGLE = [[name] for name in list(WEIGHTS)[:9]]


def said(sampler: Sampler, num_new: int, num_reruns: int = 0, single: bool = False) -> str:
    genotype = Genotype.from_weights(WEIGHTS, SINGLE if single else ())
    return ". ".join(forecast(sampler, genotype, num_new, num_reruns))


@pytest.mark.parametrize("num_genes", [2, 5, 11, 140])
def test_the_generation_of_cmaes_is_the_librarys(num_genes: int) -> None:
    own = cmaes.CMA(mean=np.zeros(num_genes), sigma=1.0).population_size
    assert generation_size(Sampler(name="cmaes"), num_genes) == own


def test_nine_fixed_of_twelve_trials_are_no_evolution() -> None:
    words = said(Sampler(name="cmaes", population=4), 12, single=True)
    assert "12 trials: 1 of equal weights, 9 of single tasks, 2 that CMA-ES proposes" in words
    assert "NOT an evolution: 10 of 12 new trials are fixed; 2 evolve" in words
    assert "to at least 18" in words


def test_two_generations_are_an_evolution() -> None:
    words = said(Sampler(name="cmaes", population=4), 9, num_reruns=3)
    assert words == (
        "12 trials: 1 of equal weights, 8 that CMA-ES proposes, 3 that repeat the best with other "
        "seeds"
    )
    assert "NOT an evolution" in said(Sampler(name="cmaes", population=4), 8, num_reruns=3)


def test_the_trials_that_are_asked_for_suffice() -> None:
    for name in ("cmaes", "ga", "nsga2", "pbt"):
        sampler = Sampler(name=name)
        words = said(sampler, 5, single=name != "pbt")
        needed = int(words.split("to at least ")[1].split(",")[0])
        assert "NOT an evolution" not in said(sampler, needed, single=name != "pbt")


def test_samplers_without_generations_are_not_warned_of() -> None:
    assert "NOT" not in said(Sampler(name="random"), 3)
    fixed = Genotype.from_weights({"simclr.rgb": 0.5})
    assert forecast(Sampler(), fixed, 12, 0) == [
        "nothing evolves in this space: one trial, and no search"
    ]
