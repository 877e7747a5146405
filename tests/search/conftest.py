from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evossl import config
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from tests.helpers.search_loops import GENOTYPE


@pytest.fixture
def genotype() -> Genotype:
    return GENOTYPE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Return a function that creates a study in a new folder; all are closed at the end."""
    studies: list[Study] = []

    def make(
        name: str = "cmaes", seed: int = 0, folder: str = "run", genotype: Genotype = GENOTYPE
    ) -> Study:
        sampler = config.Sampler.model_validate({"name": name})
        studies.append(Study.create(tmp_path / folder, genotype, sampler, seed))
        return studies[-1]

    yield make
    for study in studies:
        study.close()
