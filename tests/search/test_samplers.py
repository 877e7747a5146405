"""Every sampler is a function of (seed, trial number, finished trials in order of completion)."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from cmaes import CMA
from hypothesis import given, settings
from hypothesis import strategies as st

from evossl import config
from evossl.rng import derive_seed
from evossl.search import box_sampler, cmaes_sampler
from evossl.search.completed_trials import CompletedTrials, TrialStatus, rank_value
from evossl.search.genotype import Genotype
from evossl.search.samplers import Propose, make_proposer
from tests.helpers.search_loops import benchmark, fitness

SAMPLERS = ["cmaes", "ga", "random", "tpe", "nsga2"]
BOUNDS = {"a.rgb": (0.0, 1.0), "b.rgb": (0.2, 0.9), "c.rgb": (0.0, 0.4), "d.rgb": (0.5, 1.0)}
finite = st.floats(allow_nan=False, allow_infinity=False)


def _proposer(name: str, seed: int = 0, population: int | None = None) -> Propose:
    choice = config.Sampler.model_validate({"name": name, "population": population})
    return make_proposer(choice, seed, Genotype(BOUNDS, {}))


def _history(num: int, seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{n: float(rng.uniform(*pair)) for n, pair in BOUNDS.items()} for _ in range(num)]


def _finished(trials: list[dict[str, float]]) -> CompletedTrials:
    finished = CompletedTrials(BOUNDS)
    for trial in trials:
        finished.add(trial, "complete", fitness(0, trial))
    return finished


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_memo_of_a_sampler_never_changes_proposals(name: str) -> None:
    used, rng = _proposer(name), np.random.default_rng(1)
    trials, number = _history(90), 0
    for length in (0, 3, 3, 25, 60, 90, 40, 70):  # from 90 back to 40 is a different history
        finished = _finished(trials[:length])
        for _ in range(rng.integers(1, 3)):
            number += 1
            expected = _proposer(name)(finished.study(), number)
            assert used(finished.study(), number) == expected
    swapped = _finished([*trials[:68], trials[69], trials[68]])
    assert used(swapped.study(), number) == _proposer(name)(swapped.study(), number)


SINGLE_TASKS = Genotype(BOUNDS, {}, tuple(frozenset([name]) for name in BOUNDS if name != "d.rgb"))


def _single_task_trials(values: Mapping[str, float]) -> list[tuple[dict[str, float], float]]:
    starts = [SINGLE_TASKS.initial_weights(number) for number in (1, 2, 3)]
    return [(start or {}, value) for start, value in zip(starts, values.values(), strict=True)]


def test_cmaes_starts_near_the_best_single_tasks() -> None:
    history = _single_task_trials({"a.rgb": 3.0, "b.rgb": math.inf, "c.rgb": 1.0})
    finished = CompletedTrials(BOUNDS)
    for start, value in history:
        finished.add(start, "complete" if math.isfinite(value) else "failed", value)
    propose = make_proposer(config.Sampler(), 0, SINGLE_TASKS)
    drawn = [propose(finished.study(), number) for number in range(4, 604)]
    unit = {n: (low, high - low) for n, (low, high) in BOUNDS.items()}
    means = {n: np.mean([(one[n] - unit[n][0]) / unit[n][1] for one in drawn]) for n in BOUNDS}
    for name, mean in {"a.rgb": 0.5, "b.rgb": 0.25, "c.rgb": 0.75, "d.rgb": 0.5}.items():
        assert means[name] == pytest.approx(mean, abs=0.03), name  # sd 0.2 / sqrt(600), clipped


def test_cmaes_stays_central_until_all_single_tasks_finish() -> None:
    finished = CompletedTrials(BOUNDS)
    for start, value in _single_task_trials({"a.rgb": 1.0, "b.rgb": 2.0, "c.rgb": 3.0})[:2]:
        finished.add(start, "complete", value)
    waiting = make_proposer(config.Sampler(), 0, SINGLE_TASKS)(finished.study(), 5)
    nothing = CompletedTrials(BOUNDS)
    assert waiting == make_proposer(config.Sampler(), 0, Genotype(BOUNDS, {}))(nothing.study(), 5)


def test_the_memo_with_single_tasks_never_changes_proposals() -> None:
    used = make_proposer(config.Sampler(population=4), 0, SINGLE_TASKS)
    trials = [(trial, fitness(0, trial)) for trial in _history(40)]
    single = _single_task_trials({"a.rgb": 1.0, "b.rgb": 2.0, "c.rgb": 3.0})
    order = [
        *trials[:2],
        single[1],
        trials[2],
        single[0],
        *trials[3:5],
        single[2],
        *trials[5:],
        single[0],
    ]
    for length in (0, 3, 5, 7, 8, 9, 30, len(order), 12):
        finished = CompletedTrials(BOUNDS)
        for trial, value in order[:length]:
            finished.add(trial, "complete", value)
        fresh = make_proposer(config.Sampler(population=4), 0, SINGLE_TASKS)
        assert used(finished.study(), length) == fresh(finished.study(), length)


@pytest.mark.parametrize("name", SAMPLERS)
def test_seed_and_number_each_change_the_proposal(name: str) -> None:
    finished = _finished(_history(60)).study()
    here = _proposer(name)(finished, 60)
    assert _proposer(name)(finished, 61) != here
    assert _proposer(name, seed=1)(finished, 60) != here


@pytest.mark.parametrize("name", ["cmaes", "ga", "tpe", "nsga2"])
def test_finished_trials_change_the_proposal(name: str) -> None:
    here = _proposer(name)(_finished(_history(60)).study(), 60)
    assert _proposer(name)(_finished(_history(60, seed=1)).study(), 60) != here


@given(finite, finite, finite, finite)
def test_complete_pruned_chance_failed_is_the_order(a: float, b: float, c: float, d: float) -> None:
    assert rank_value("complete", a) < rank_value("pruned", b) < rank_value("at_chance", None)
    assert rank_value("at_chance", None) < rank_value("failed", None)
    low, high = sorted((c, d))
    statuses: tuple[TrialStatus, ...] = ("complete", "pruned")
    for status in statuses:
        assert rank_value(status, low) <= rank_value(status, high)
    assert rank_value("complete", None) == rank_value("failed", 0.0) == math.inf


def test_pruned_trials_are_ranked_by_fitness() -> None:
    nats = [-3.0, -0.1, 0.0, 0.2, 0.21, 8.0]
    values = [rank_value("pruned", value) for value in nats]
    assert values == sorted(values)
    assert len(set(values)) == len(nats)


class SpyCMA(CMA):
    """Records what it is told."""

    told: list[list[tuple[np.ndarray, float]]] = []

    def tell(self, solutions: list[tuple[np.ndarray, float]]) -> None:
        self.told.append(list(solutions))
        super().tell(solutions)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[np.ndarray, float]]]:
    SpyCMA.told = []
    monkeypatch.setattr(cmaes_sampler, "CMA", SpyCMA)
    return SpyCMA.told


def _unit(trial: Mapping[str, float]) -> tuple[float, ...]:
    return tuple((trial[n] - low) / (high - low) for n, (low, high) in BOUNDS.items())


@pytest.mark.parametrize("in_flight", [1, 8, 32])
def test_cmaes_uses_every_finished_trial_once(
    told: list[list[tuple[np.ndarray, float]]], in_flight: int
) -> None:
    propose, finished, rng = _proposer("cmaes"), CompletedTrials(BOUNDS), np.random.default_rng(0)
    running: list[dict[str, float]] = []
    done: list[tuple[float, ...]] = []
    for number in range(203 + in_flight):
        running.append(propose(finished.study(), number))
        if len(running) > in_flight:
            trial = running.pop(rng.integers(in_flight))
            finished.add(trial, "complete", fitness(number, trial))
            done.append(_unit(trial))
    propose(finished.study(), 999)
    population = 4 + math.floor(3 * math.log(len(BOUNDS)))  # Hansen's tutorial, table 1
    assert [len(generation) for generation in told] == [population] * (203 // population)
    for index, generation in enumerate(told):
        batch = done[index * population : (index + 1) * population]
        assert sorted(tuple(point_D) for point_D, _ in generation) == sorted(batch)


def test_cmaes_receives_ranks_and_never_nan_or_infinity(
    told: list[list[tuple[np.ndarray, float]]],
) -> None:
    propose, finished = _proposer("cmaes", population=4), CompletedTrials(BOUNDS)
    trials = _history(4)
    for trial, (status, value) in zip(
        trials,
        [("failed", None), ("pruned", 0.1), ("complete", 3.0), ("complete", 2.0)],
        strict=True,
    ):
        finished.add(trial, status, value)  # type: ignore[arg-type]
    propose(finished.study(), 4)
    assert [rank for _, rank in told[0]] == [0, 1, 2, 3]
    expected = [_unit(trials[i]) for i in (3, 2, 1, 0)]  # complete by fitness, pruned, failed
    assert [tuple(point_D) for point_D, _ in told[0]] == expected


def test_each_finished_trial_is_read_once(
    told: list[list[tuple[np.ndarray, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, unit_point = [0], box_sampler._unit_point

    def counting(params: object, box: object) -> object:
        read[0] += 1
        return unit_point(params, box)  # type: ignore[arg-type]

    monkeypatch.setattr(box_sampler, "_unit_point", counting)
    propose, finished = _proposer("cmaes"), CompletedTrials(BOUNDS)
    for number, trial in enumerate(_history(400)):
        finished.add(trial, "complete", fitness(number, trial))
        propose(finished.study(), number)
        assert read[0] == number + 1
        assert len(told) == (number + 1) // 8


def test_cmaes_equals_the_library_driven_by_hand() -> None:
    # The library is driven without a study, and reseeded in the same way.
    propose, finished = _proposer("cmaes", seed=3), CompletedTrials(BOUNDS)
    library = CMA(
        mean=np.full(4, 0.5),
        sigma=0.2,
        bounds=np.tile([0.0, 1.0], (4, 1)),
        n_max_resampling=0,
    )
    generation: list[tuple[np.ndarray, float]] = []
    for number in range(50):
        trial = propose(finished.study(), number)
        rng = np.random.default_rng(derive_seed(3, "trial", number))
        library.reseed_rng(int(rng.integers(2**32)))
        point_D = library.ask()
        np.testing.assert_allclose(_unit(trial), point_D, atol=1e-9)
        finished.add(trial, "complete", fitness(number, trial))
        generation.append((point_D, fitness(number, trial)))
        if len(generation) == library.population_size:
            library.tell(generation)
            generation = []


@pytest.mark.parametrize("name", ["cmaes", "ga"])
def test_a_weight_of_exactly_zero_can_be_reached(name: str) -> None:
    propose, finished = _proposer(name), CompletedTrials(BOUNDS)
    zeros = 0
    for number in range(150):
        trial = propose(finished.study(), number)
        finished.add(trial, "complete", trial["a.rgb"] + (trial["b.rgb"] - 0.5) ** 2)
        zeros += number >= 100 and trial["a.rgb"] == 0.0
    assert zeros >= 10


@pytest.mark.parametrize("value", [0.0, None])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_propose_even_if_all_values_are_equal(name: str, value: float | None) -> None:
    propose, finished = _proposer(name), CompletedTrials(BOUNDS)
    for number in range(60):
        trial = propose(finished.study(), number)
        finished.add(trial, "failed" if value is None else "complete", value)
        assert all(low <= trial[n] <= high for n, (low, high) in BOUNDS.items())


def test_cmaes_restarts_once_it_has_converged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts, new_cma = [0], cmaes_sampler.CmaEsSampler._new_cma

    def counting(self: cmaes_sampler.CmaEsSampler, mean_D: np.ndarray) -> CMA:
        starts[0] += 1
        return new_cma(self, mean_D)

    monkeypatch.setattr(cmaes_sampler.CmaEsSampler, "_new_cma", counting)
    bounds = {"a.rgb": (0.0, 1.0), "b.rgb": (0.0, 1.0)}
    propose, finished = (
        make_proposer(config.Sampler(), 0, Genotype(bounds, {})),
        CompletedTrials(bounds),
    )
    values = []
    for number in range(900):
        trial = propose(finished.study(), number)
        values.append((trial["a.rgb"] - 0.6) ** 2 + (trial["b.rgb"] - 0.2) ** 2)
        finished.add(trial, "complete", values[-1])
    assert starts[0] >= 2
    assert min(values) < 1e-20
    assert np.isfinite(values).all()


def test_ga_parents_are_the_newest_twenty_and_best_three() -> None:
    propose, trials = _proposer("ga"), _history(60)
    finished = CompletedTrials(BOUNDS)
    for index, trial in enumerate(trials):  # the best are old, and the newest are the worst
        finished.add(trial, "complete", -1.0 if index in (7, 11, 30) else float(index))
    parents = set()
    for number in range(60, 360):
        child = propose(finished.study(), number)
        parents |= {
            index
            for index, trial in enumerate(trials)
            for name in BOUNDS
            if math.isclose(child[name], trial[name], rel_tol=1e-12)
        }
    assert {7, 11, 30} < parents
    assert {40, 41, 42} < parents
    assert parents <= {7, 11, 30, *range(40, 60)}


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)))
def test_nsga2_children_inherit_from_any_finished_trial(order: list[int]) -> None:
    propose, trials = _proposer("nsga2", population=12), _history(12)
    finished = CompletedTrials(BOUNDS)
    for index in order:
        finished.add(trials[index], "complete", float(index))
    child = propose(finished.study(), 12)
    inherited = [any(child[n] == trial[n] for trial in trials) for n in BOUNDS]
    assert sum(inherited) >= 1


def test_cmaes_and_ga_beat_random_search_on_nine_of_ten_seeds() -> None:
    bench = benchmark()

    def values(name: str, num_workers: int) -> list[float]:
        return [
            bench.simulate(
                config.Sampler.model_validate({"name": name}),
                bench.Quadratic.draw(12, seed),
                seed,
                200,
                num_workers,
            ).best_value
            for seed in range(10)
        ]

    for num_workers in (1, 8):
        random = values("random", num_workers)
        for name in ("cmaes", "ga"):
            wins = sum(a < b for a, b in zip(values(name, num_workers), random, strict=True))
            assert wins >= 9, f"{name}, {num_workers} in flight: {wins} of 10"
