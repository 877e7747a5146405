import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from evossl import config
from evossl.errors import UserError
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from tests.helpers.search_loops import run, tell

Start = Callable[..., Study]
SAMPLERS = ["cmaes", "ga", "random", "tpe", "nsga2"]


def test_trial_0_has_equal_weights(start: Start, genotype: Genotype) -> None:
    study = start()
    proposal = study.ask()
    assert proposal.number == 0
    assert proposal.weights == genotype.equal_weights()
    assert study.rows()[0].name == "equal weights"


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_stay_in_bounds_whatever_is_told(
    start: Start, genotype: Genotype, name: str
) -> None:
    study, rng = start(name), np.random.default_rng(0)
    in_flight = []
    for _ in range(70):
        proposal = study.ask()
        for weight, (low, high) in genotype.bounds.items():
            assert low <= proposal.weights[weight] <= high
        assert proposal.weights["reconstruction.gray"] == 0.25
        assert list(proposal.weights) == sorted([*genotype.bounds, *genotype.fixed])
        in_flight.append(proposal)
        while len(in_flight) > rng.integers(9):
            told = in_flight.pop(rng.integers(len(in_flight)))
            status = ("complete", "failed", "pruned")[rng.integers(3)]
            value = (1.0, -math.inf, math.inf, math.nan, None, 1e300)[rng.integers(6)]
            tell(study, told, status=status, fitness=value)
    assert len({tuple(row.weights.values()) for row in study.rows()}) > 50


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("status", ["complete", "pruned"])
def test_a_fitness_that_is_not_finite_fails_the_trial(
    start: Start, value: float | None, status: str
) -> None:
    study = start()
    study.ask()
    row = study.tell(
        0, status=status, fitness=value, reason=None, seconds=2, indicators={"kl": 1, "a": math.nan}
    )
    assert row == study.rows()[0]
    assert (row.status, row.fitness) == ("failed", None)
    assert row.reason == f"{status} with fitness {value}"
    assert row.indicators == {"kl": 1.0}
    assert study.best(1) == []


def test_a_trial_at_chance_has_no_fitness_after_a_resume(start: Start, tmp_path: Path) -> None:
    study = start()
    study.ask()
    row = study.tell(
        0, status="at_chance", fitness=4.5, reason="at chance: x", seconds=2, indicators={"kl": 1}
    )
    assert (row.status, row.fitness, row.reason) == ("at_chance", None, "at chance: x")
    study.close()
    with Study.open(tmp_path / "run") as again:
        assert again.rows() == [row]
        assert again.num_finished == 1


def test_telling_twice_or_an_unknown_trial_is_refused(start: Start) -> None:
    study = start()
    proposal = study.ask()
    tell(study, proposal)
    rows = study.rows()
    with pytest.raises(UserError, match="trial 0 is complete: it has a result already"):
        tell(study, proposal)
    for number in (1, -1):
        with pytest.raises(UserError, match="does not exist"):
            study.tell(number, status="complete", fitness=1, reason=None, seconds=1, indicators={})
    assert study.rows() == rows


def test_best_returns_complete_trials_with_ties_by_number(start: Start) -> None:
    study = start()
    told = [
        ("complete", 2.0),
        ("complete", 1.0),
        ("pruned", 0.1),
        ("failed", 0.0),
        ("complete", 1.0),
        ("complete", 3.0),
        ("at_chance", None),
    ]
    proposals = [study.ask() for _ in told]
    for proposal, (status, value) in reversed(list(zip(proposals, told, strict=True))):
        tell(study, proposal, status=status, fitness=value)
    study.ask()
    study.add_control("noise", "noise", 0.0, None, {}, 1.0)
    assert [row.trial for row in study.best(3)] == [1, 4, 0]
    assert [row.trial for row in study.best(9)] == [1, 4, 0, 5, 6]  # at chance after all others
    assert study.counts() == {
        "complete": 4,
        "at_chance": 1,
        "failed": 1,
        "pruned": 1,
        "running": 1,
        "control": 1,
    }


def test_rows_have_the_order_of_completion_after_a_resume(start: Start, tmp_path: Path) -> None:
    study = start()
    proposals = [study.ask() for _ in range(4)]
    tell(study, proposals[2])
    tell(study, proposals[0], status="failed", fitness=None)
    study.add_control("noise", "noise", 0.0, None, {}, 1.0)
    tell(study, proposals[3], status="pruned")
    expected = {-1: None, 0: 1, 1: None, 2: 0, 3: 2}
    assert {row.trial: row.completed for row in study.rows()} == expected
    study.close()
    with Study.open(tmp_path / "run") as resumed:
        assert {row.trial: row.completed for row in resumed.rows()} == expected


def test_an_abandoned_trial_is_asked_again_first(start: Start) -> None:
    study = start()
    first, second, third = study.ask(), study.ask(), study.ask()
    study.abandon(third.number)
    study.abandon(second.number)
    study.abandon(second.number)
    assert [study.ask() for _ in range(2)] == [second, third]
    assert study.ask().number == 3
    tell(study, first)
    with pytest.raises(UserError, match="has a result already"):
        study.abandon(first.number)


def test_an_abandoned_trial_with_a_result_is_not_asked_again(start: Start) -> None:
    study = start()
    proposal = study.ask()
    study.abandon(proposal.number)
    tell(study, proposal)
    assert study.ask().number == 1


def test_controls_have_negative_numbers_and_survive_resume(start: Start, tmp_path: Path) -> None:
    study = start()
    for index in range(11):
        study.add_control(
            "random_init", f"random init {index}", 2.0 + index, None, {"kl": 1.0}, 3.0
        )
    study.add_control("noise", "noise", math.nan, "collapsed", {}, 1.0)
    run(study, 2)
    rows = study.rows()
    assert [row.trial for row in rows] == [*range(-1, -13, -1), 0, 1]
    assert rows[11].fitness is None
    assert rows[11].reason == "complete with fitness nan: collapsed"
    study.close()
    with Study.open(tmp_path / "run") as resumed:
        assert resumed.rows() == rows


def test_single_tasks_follow_equal_weights_even_if_resumed(start: Start, tmp_path: Path) -> None:
    bounds = dict.fromkeys(("arrow.rgb", "simclr.flow", "simclr.rgb"), (0.0, 1.0))
    alone = (frozenset(["arrow.rgb"]), frozenset(["simclr.flow", "simclr.rgb"]))
    genotype = Genotype(bounds, {}, alone)
    study = start(genotype=genotype)
    study.ask()
    study.ask()
    study.close()
    folder = tmp_path / "run"
    with Study.resume(folder, genotype, study.sampler, study.seed) as resumed:
        asked = [resumed.ask() for _ in range(4)]
        names = [row.name for row in resumed.rows()[:4]]
    assert names == ["equal weights", "arrow alone", "simclr alone", ""]
    assert [list(proposal.weights.values()) for proposal in asked[:3]] == [
        [0.5, 0.5, 0.5],
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 1.0],
    ]
    with pytest.raises(UserError, match=r"single-task trial 2 is simclr.flow, simclr.rgb there"):
        Study.resume(folder, Genotype(bounds, {}, alone[:1]), study.sampler, study.seed)


def test_with_fixed_weights_trial_0_is_the_whole_search(start: Start) -> None:
    study = start(genotype=Genotype({}, {"simclr.rgb": 1.0, "order.rgb": 0.0}))
    assert not study.genotype.evolves
    proposal = study.ask()
    assert proposal.weights == {"simclr.rgb": 1.0, "order.rgb": 0.0}
    tell(study, proposal)
    with pytest.raises(UserError, match="every weight of this space is fixed"):
        study.ask()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_single_evolving_weight_is_searched(start: Start, name: str) -> None:
    study = start(name, genotype=Genotype({"simclr.rgb": (0.0, 1.0)}, {}))
    run(study, 60)
    assert abs(study.best(1)[0].weights["simclr.rgb"] - 0.3) < 0.2


def test_an_existing_search_is_not_overwritten(
    start: Start, tmp_path: Path, genotype: Genotype
) -> None:
    start().close()
    before = (tmp_path / "run" / "study.journal").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        Study.create(tmp_path / "run", genotype, config.Sampler(), 0)
    assert (tmp_path / "run" / "study.journal").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"sampler": config.Sampler(name="ga")}, 'sampler.name is "cmaes" there, "ga" here'),
        (
            {"sampler": config.Sampler(population=8)},
            "sampler.population is null there, 8 here",
        ),
        (
            {"genotype": Genotype({"order.rgb": (0.0, 0.5), "simclr.rgb": (0.0, 1.0)}, {})},
            "weight order.rgb is evolved in [0.0, 1.0] there, evolved in [0.0, 0.5] here; weight",
        ),
    ],
)
def test_resuming_with_other_settings_is_refused(
    start: Start, tmp_path: Path, genotype: Genotype, changes: dict[str, Any], message: str
) -> None:
    study = start()
    run(study, 2)
    study.close()
    journal = tmp_path / "run" / "study.journal"
    whole = journal.read_bytes()
    torn = whole[: whole.rstrip().rindex(b"\n") + 20]  # the line of a result, and half of its state
    asked = {"genotype": genotype, "sampler": config.Sampler(), "seed": 0} | changes
    for before in (whole, torn):
        journal.write_bytes(before)
        with pytest.raises(UserError) as refused:
            Study.resume(tmp_path / "run", **asked)
        assert message in str(refused.value)
        assert journal.read_bytes() == before
    Study.resume(tmp_path / "run", genotype, config.Sampler(), 0).close()


def test_a_folder_without_a_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no search to resume"):
        Study.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "population"), [("cmaes", 3), ("ga", 1), ("nsga2", 1), ("random", 9), ("tpe", 9)]
)
def test_an_impossible_population_is_refused(
    tmp_path: Path, genotype: Genotype, name: str, population: int
) -> None:
    sampler = config.Sampler.model_validate({"name": name, "population": population})
    with pytest.raises(UserError, match=r"sampler\.population"):
        Study.create(tmp_path / "run", genotype, sampler, 0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [*SAMPLERS, "pbt"])
def test_a_search_prints_no_output_and_no_warnings(
    tmp_path: Path, genotype: Genotype, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    sampler = config.Sampler.model_validate({"name": name})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Study.create(tmp_path / "run", genotype, sampler, 0) as study:
            run(study, 25)
    assert capfd.readouterr() == ("", "")
