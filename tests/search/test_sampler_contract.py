"""optuna's contract tests for samplers, applied to ours."""

from collections.abc import Callable

import pytest

pytest_samplers = pytest.importorskip("optuna.testing.pytest_samplers")

from optuna.samplers import BaseSampler  # noqa: E402

from evossl.search.cmaes_sampler import CmaEsSampler  # noqa: E402
from evossl.search.genetic_sampler import GeneticSampler  # noqa: E402

Basic = pytest_samplers.BasicSamplerTestCase
Relative = pytest_samplers.RelativeSamplerTestCase
SingleOnly = pytest_samplers.SingleOnlySamplerTestCase


class TestCmaEs(Basic, Relative, SingleOnly):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: CmaEsSampler(seed=0, population=4)


class TestGenetic(Basic, Relative, SingleOnly):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: GeneticSampler(seed=0, population=2)
