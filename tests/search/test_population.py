"""Population-based training: which trial continues which, with which genes, exactly resumed."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from evossl import config
from evossl.errors import UserError
from evossl.search.genotype import Genotype
from evossl.search.population import FACTORS, Population, perturb
from evossl.search.proposal import Proposal
from evossl.search.samplers import check_sampler
from evossl.search.study import Study
from evossl.search.table import TrialRow
from evossl.search.unit_box import distributions
from tests.helpers.search_loops import GENOTYPE, tell

BOUNDS = {"a.rgb": (0.0, 1.0), "b.rgb": (0.2, 0.6)}
INF = float("inf")
PBT = config.Sampler(name="pbt", population=4)
TRIALS, IN_FLIGHT = 22, 3


def genes(number: int) -> dict[str, float]:
    return {"a.rgb": 0.5 + number / 1000, "b.rgb": 0.3}


def population(values: Mapping[int, float], parents: Mapping[int, int] | None = None) -> Population:
    """Return four members whose trials have finished in the order of `values`."""
    members = Population(4, 0, distributions(BOUNDS, {}))
    for number, value in values.items():
        members.add(number, (parents or {}).get(number), genes(number), value)
    return members


def test_a_trial_continues_the_member_that_waits_longest() -> None:
    members = population({2: 1.0, 0: 1.0, 3: 1.0})
    assert [members.can_continue(number) for number in (3, 4, 6, 7)] == [True, True, True, False]
    assert [members.propose(number) for number in (4, 5, 6)] == [
        (genes(2), 2),
        (genes(0), 0),
        (genes(3), 3),
    ]
    members.add(5, 0, genes(5), 1.0)
    assert members.propose(7) == (genes(5), 5)
    assert members.living() == [5, 2, 3]


def test_the_worst_quarter_copies_the_best_and_perturbs() -> None:
    members = population({0: 4.0, 1: 3.0, 2: 1.0, 3: 2.0})
    proposed = {number: members.propose(number) for number in (4, 5, 6, 7)}
    weights, parent = proposed[4]
    assert parent == 2
    assert weights != genes(2)
    assert [proposed[number] for number in (5, 6, 7)] == [(genes(n), n) for n in (1, 2, 3)]


def test_nobody_copies_before_four_members_are_compared() -> None:
    members = population({0: 1.0, 1: 3.0, 2: 2.0})
    assert [members.propose(number)[1] for number in (4, 5, 6)] == [0, 1, 2]


def test_a_failed_segment_is_replaced_by_a_copy() -> None:
    members = population({0: 1.0, 1: INF})
    weights, parent = members.propose(5)
    assert parent == 0
    assert weights != genes(0)
    assert members.living() == [0], "what failed cannot be inherited"


def test_if_every_member_failed_a_trial_starts_anew() -> None:
    members = population(dict.fromkeys(range(4), INF))
    weights, parent = members.propose(4)
    assert parent is None
    assert all(low <= weights[name] <= high for name, (low, high) in BOUNDS.items())


def test_members_are_compared_at_the_same_segment() -> None:
    """Member 0 has trained longer; member 3's first segment is as good as its first one was."""
    values = {0: 5.0, 1: 6.0, 2: 7.0, 4: 1.0, 3: 5.0}
    members = population(values, {4: 0})
    assert members.propose(8) == (genes(3), 3)
    worse = population(values | {3: 8.0}, {4: 0})
    assert worse.propose(8)[1] == 4, "a copy is one of the newest segment"


def test_equal_trials_do_not_copy_each_other() -> None:
    members = population(dict.fromkeys(range(4), 1.0))
    assert [members.propose(number)[1] for number in range(4, 8)] == [0, 1, 2, 3]


def test_a_perturbation_stays_near_or_resamples() -> None:
    rng = np.random.default_rng(0)
    parent_D = np.array([0.0, 0.5, 0.9, 1.0])
    points_ND = np.array([perturb(parent_D, np.ones(4, bool), rng) for _ in range(4000)])
    assert points_ND.min() >= 0
    assert points_ND.max() <= 1
    for gene, unit in zip(points_ND.T, parent_D, strict=True):
        multiples = {min(unit * factor, 1.0) for factor in FACTORS}
        share = np.mean([value in multiples for value in gene])
        assert share == pytest.approx(0.75, abs=0.03)  # sd 0.007
    many_D = np.array([perturb(np.full(140, 0.5), np.ones(140, bool), rng) for _ in range(400)])
    resampled = np.mean([sum(v not in (0.4, 0.6) for v in point) for point in many_D])
    assert resampled == pytest.approx(2.0, abs=0.3)  # sd 0.07


def test_genes_are_inherited_and_choices_only_resampled() -> None:
    """A number moves by a factor; a choice without an order is another one only by chance."""
    kinds = ("sgd", "adamw", "lars")
    parameters = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "accumulate": IntDistribution(1, 8),
        "name": CategoricalDistribution(kinds),
    }
    members = Population(4, 0, parameters)
    for number in range(4):
        values = {"lr": 1e-3, "accumulate": 3, "name": "lars"}
        members.add(number, None, values, float(number))
    assert members.propose(4) == ({"lr": 1e-3, "accumulate": 3, "name": "lars"}, 0)
    changed, parent = members.propose(7)  # trial 3 is the worst of four
    assert parent == 0
    assert changed.keys() == parameters.keys()
    assert isinstance(changed["accumulate"], int)
    rng, other = np.random.default_rng(0), np.array([True, True, False])
    points_ND = np.array([perturb(np.array([0.4, 0.4, 5 / 6]), other, rng) for _ in range(2000)])
    kept = np.mean(points_ND[:, 2] == 5 / 6)
    assert kept == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(
    ("sampler", "genotype", "trials", "message"),
    [
        (
            {"population": 1},
            GENOTYPE,
            None,
            "sampler.population: pbt needs at least 4, not 1; raise it, or remove the key",
        ),
        ({}, GENOTYPE, 15, "with a population of 8, pbt needs at least 16"),
        (
            {"population": 4},
            Genotype(BOUNDS, {}, tuple(frozenset([name]) for name in BOUNDS) * 2),
            None,
            "4 members are too few for sampler.single_tasks_first, whose 5 trials are members",
        ),
    ],
)
def test_a_population_that_cannot_work_is_refused(
    sampler: dict[str, int], genotype: Genotype, trials: int | None, message: str
) -> None:
    choice = config.Sampler.model_validate({"name": "pbt"} | sampler)
    with pytest.raises(UserError) as refused:
        check_sampler(choice, genotype, trials)
    assert message in str(refused.value)


def _order(number: int) -> float:
    return float(np.random.default_rng([3, number]).random())


def drive(study: Study, until: int = TRIALS) -> None:
    """Run a search whose state alone decides which running trial ends next."""
    for row in [row for row in study.rows() if row.status == "running"]:
        assert study.ask() == Proposal(row.trial, row.weights, parent=row.parent)
    while study.num_finished < until:
        running = [row.trial for row in study.rows() if row.status == "running"]
        is_full = len(running) == IN_FLIGHT or len(study.rows()) == until
        if not is_full and study.can_ask():
            study.ask()
        else:
            row = study.rows()[min(running, key=_order)]
            tell(study, Proposal(row.trial, row.weights, parent=row.parent))


def test_a_search_killed_after_any_line_is_unchanged(tmp_path: Path) -> None:
    with Study.create(tmp_path / "whole", GENOTYPE, PBT, 0) as study:
        drive(study)
        expected = study.rows()
    lines = (tmp_path / "whole" / "study.journal").read_bytes().splitlines(keepends=True)
    for num_lines in range(2, len(lines)):
        for torn in (b"", lines[num_lines][:20]):
            folder = tmp_path / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "study.journal").write_bytes(b"".join(lines[:num_lines]) + torn)
            with Study.resume(folder, GENOTYPE, PBT, 0) as resumed:
                drive(resumed)
                assert resumed.rows() == expected, num_lines


def segments(rows: list[TrialRow]) -> Counter[int]:
    """Return how many trials there are of each segment."""
    depth: dict[int, int] = {}
    for row in rows:
        depth[row.trial] = 0 if row.parent is None else depth[row.parent] + 1
    return Counter(depth.values())


def test_a_search_trains_all_members_side_by_side(tmp_path: Path) -> None:
    with Study.create(tmp_path, GENOTYPE, PBT, 0) as study:
        drive(study, 80)
        rows = study.rows()
        assert study.inheritable() <= {row.trial for row in rows if row.status == "complete"}
    assert segments(rows)[0] == 4
    assert max(segments(rows)) >= 15
    children = [row for row in rows if row.parent is not None]
    same = [row.weights == rows[row.parent or 0].weights for row in children]
    assert 0.5 < np.mean(same) < 1.0, "most continue, some copy"
    started = {row.parent: row.trial for row in children}
    assert all(parent is not None and parent < child for parent, child in started.items())


def test_no_more_members_run_than_the_population_has(tmp_path: Path) -> None:
    with Study.create(tmp_path, GENOTYPE, PBT, 0) as study:
        proposals = [study.ask() for _ in range(4)]
        assert not study.can_ask()
        study.abandon(1)
        assert study.can_ask()
        assert study.ask() == proposals[1]
        tell(study, proposals[2])
        assert study.can_ask()
        assert study.ask().parent == 2
        assert study.inheritable() == {2}


def test_a_parent_can_be_inherited_until_its_child_ends(tmp_path: Path) -> None:
    with Study.create(tmp_path, GENOTYPE, PBT, 0) as study:
        proposals = [study.ask() for _ in range(4)]
        for proposal, value in zip(proposals, (4.0, 1.0, 2.0, 3.0), strict=True):
            tell(study, proposal, status="complete", fitness=value)
        children = [study.ask() for _ in range(4)]
        assert [child.parent for child in children] == [1, 1, 2, 3]
        for child in children[1:]:
            tell(study, child, status="complete", fitness=0.5)
        assert study.inheritable() == {0, 1, 5, 6, 7}, "trial 4 still needs its parent, trial 1"
        tell(study, children[0], status="complete", fitness=0.5)
        assert study.inheritable() == {4, 5, 6, 7}


def trained(seed: int, copies: bool, num_trials: int = 160) -> float:
    """Return the lowest loss of a simulated population whose members learn from segment to segment.

    A segment moves a member a fifth of the way towards the loss that its weights can reach.
    """
    rng, bounds = np.random.default_rng([seed, 1]), {f"w{i}.rgb": (0.0, 1.0) for i in range(10)}
    best_D = rng.uniform(size=10) * (rng.random(10) < 0.5)
    members, loss = Population(8, seed, distributions(bounds, {})), dict[int, float]()
    order: list[tuple[int, dict[str, float]]] = []
    for number in range(num_trials):
        weights, parent = members.propose(number)
        if not copies and number >= 8:
            parent, weights = order[number - 8]
        start = 1.0 if parent is None else loss[parent]
        reachable = float(np.mean((np.array(list(weights.values())) - best_D) ** 2))
        loss[number] = start + 0.2 * (reachable - start)
        order.append((number, weights))
        members.add(number, parent, weights, loss[number] + 0.01 * float(rng.normal()))
    return min(loss.values())


def test_copies_improve_a_simulated_population() -> None:
    with_copies, without = (
        [trained(seed, copies) for seed in range(8)] for copies in (True, False)
    )
    assert np.median(with_copies) < 0.8 * np.median(without)
