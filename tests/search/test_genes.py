"""Genes other than loss weights: how a search proposes, stores and resumes them."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kstest

from evossl import config
from evossl.errors import UserError
from evossl.genes import Choices, GeneValue, Range
from evossl.search.completed_trials import CompletedTrials
from evossl.search.genotype import Genotype
from evossl.search.mixed_cma import MixedCma
from evossl.search.proposal import Proposal
from evossl.search.samplers import make_proposer
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table, write_table
from evossl.search.unit_box import MAX_DISCRETE, distributions, position_of, value_at

Start = Callable[..., Study]
SAMPLERS = ["cmaes", "ga", "random", "tpe", "nsga2"]
GENES = {
    "optimiser.lr": Range(0.0005, 0.02, 0.001, log=True),
    "optimiser.weight_decay": Range(0.0, 0.2, 0.05),
    "tasks.simclr.options.hidden_layers": Range(1, 4, 1, is_integer=True),
    "tasks.moco.options.queue_size": Range(16, 4096, 4096, log=True, is_integer=True),
    "optimiser.name": Choices(("adamw", "sgd", "lars")),
    "tasks.moco.options.symmetric": Choices((False, True)),
}
BOUNDS = {"simclr.rgb": (0.0, 1.0), "moco.rgb": (0.2, 0.9)}
GENOTYPE = Genotype(BOUNDS, {"order.rgb": 0.25}, genes=GENES)
CONTINUOUS = {name: GENES[name] for name in ("optimiser.lr", "optimiser.weight_decay")}


def distance(genes: dict[str, GeneValue]) -> float:
    """Return how far the genes are from lr 0.004, no decay, 3 layers, queue 64, sgd, symmetric."""
    found = np.log(float(genes["optimiser.lr"]) / 0.004) ** 2
    found += 10 * float(genes["optimiser.weight_decay"])
    found += abs(float(genes["tasks.simclr.options.hidden_layers"]) - 3)
    found += abs(np.log2(float(genes["tasks.moco.options.queue_size"]) / 64))
    found += genes["optimiser.name"] != "sgd"
    return float(found + (genes["tasks.moco.options.symmetric"] is not True))


def tell(study: Study, proposal: Proposal) -> None:
    failed = proposal.number % 7 == 6
    study.tell(
        proposal.number,
        status="failed" if failed else "complete",
        fitness=None if failed else distance(dict(proposal.genes)),
        reason="loss is nan" if failed else None,
        seconds=1.0,
        indicators={},
    )


def run(study: Study, until: int) -> list[TrialRow]:
    while study.num_finished < until:
        tell(study, study.ask())
    return study.rows()


@pytest.mark.parametrize("name", SAMPLERS)
def test_genes_lie_in_their_ranges_and_trial_0_has_defaults(start: Start, name: str) -> None:
    rows = run(start(name, genotype=GENOTYPE), 60)
    assert rows[0].genes == {gene: found.default for gene, found in GENES.items()}
    assert rows[0].weights == GENOTYPE.equal_weights()
    for row in rows:
        assert list(row.genes) == list(GENES)
        for gene, value in row.genes.items():
            assert GENES[gene].contains(value), (gene, value)
            assert type(value) is type(GENES[gene].default), (gene, value)
        assert set(row.weights) == {*BOUNDS, "order.rgb"}
    for gene, found in GENES.items():
        seen = {row.genes[gene] for row in rows}
        assert len(seen) > 20 or seen >= set(found.extremes), gene


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_with_genes_resumes_exactly(start: Start, tmp_path: Path, name: str) -> None:
    uninterrupted = run(start(name, folder="whole", genotype=GENOTYPE), 50)
    study = start(name, folder="resumed", genotype=GENOTYPE)
    for until in (1, 12, 33, 34, 50):
        run(study, until)
        interrupted = study.ask()
        study.close()
        study = Study.open(tmp_path / "resumed")
        again = study.ask()
        assert again == interrupted
        study.abandon(again.number)
    rows = study.rows()
    study.close()
    assert rows[:50] == uninterrupted


@pytest.mark.parametrize("name", ["cmaes", "ga", "tpe"])
def test_a_search_finds_good_genes(start: Start, name: str) -> None:
    found = run(start(name, genotype=GENOTYPE), 250)
    random = run(start("random", folder="random", genotype=GENOTYPE), 250)

    def late(rows: list[TrialRow]) -> float:
        return float(np.median([distance(dict(row.genes)) for row in rows[200:]]))

    assert late(found) < 0.5 * late(random)


def test_cmaes_settles_on_the_best_choice_and_integer(start: Start) -> None:
    rows = run(start("cmaes", genotype=GENOTYPE), 300)[250:]
    shares = {
        "optimiser.name": np.mean([row.genes["optimiser.name"] == "sgd" for row in rows]),
        "layers": np.mean([row.genes["tasks.simclr.options.hidden_layers"] == 3 for row in rows]),
    }
    assert all(share > 0.6 for share in shares.values()), shares
    assert all(share < 1 for share in shares.values()), shares  # the margin keeps exploring


def test_random_draws_are_uniform_on_their_scale(start: Start) -> None:
    """A logarithmic range is uniform in the logarithm, and each bin of the others is as likely."""
    for name in ("random", "ga"):  # the first trials of `ga` are random
        genotype = replace(GENOTYPE, bounds={"simclr.rgb": (0.0, 1.0)})
        sampler = config.Sampler.model_validate({"name": name})
        propose = make_proposer(sampler, 0, genotype)
        nothing = CompletedTrials(genotype.bounds, genotype.genes).study()
        drawn = [propose(nothing, number) for number in range(1, 1201)]
        position = np.log([float(one["optimiser.lr"]) / 0.0005 for one in drawn]) / np.log(40)
        assert kstest(position, "uniform").pvalue > 0.001
        layers = [one["tasks.simclr.options.hidden_layers"] for one in drawn]
        assert all(abs(layers.count(value) - 300) < 75 for value in (1, 2, 3, 4))
        names = [one["optimiser.name"] for one in drawn]
        assert all(abs(names.count(value) - 400) < 85 for value in ("adamw", "sgd", "lars"))


@pytest.mark.parametrize("gene", GENES)
def test_positions_and_values_are_inverse_and_reach_both_ends(gene: str) -> None:
    parameter = distributions({}, GENES)[gene]
    assert (value_at(0.0, parameter), value_at(1.0, parameter)) == (
        GENES[gene].extremes[0],
        GENES[gene].extremes[-1],
    )
    for position in np.linspace(0, 1, 41).tolist():
        value = value_at(position, parameter)
        again = value_at(position_of(value, parameter), parameter)
        assert again == (value if isinstance(value, int | str) else pytest.approx(value))
        assert type(again) is type(value)


def test_continuous_genes_leave_weight_proposals_alone() -> None:
    """Without integers and choices the search is `cmaes.CMA`'s: an extra weight in disguise."""
    gene = {"z.gene": Range(0.0, 1.0, 0.5)}
    bounds = {"a.rgb": (0.0, 1.0), "b.rgb": (0.2, 0.9)}
    with_gene = make_proposer(config.Sampler(), 3, Genotype(bounds, {}, genes=gene))
    as_weight = make_proposer(config.Sampler(), 3, Genotype(bounds | {"z.gene": (0.0, 1.0)}, {}))
    finished = CompletedTrials(bounds, gene)
    for number in range(1, 40):
        proposed = with_gene(finished.study(), number)
        assert proposed == as_weight(finished.study(), number)
        finished.add(proposed, "complete", sum(float(value) for value in proposed.values()))


def test_a_large_integer_range_is_searched_like_a_float(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the mixed optimiser is not needed")

    monkeypatch.setattr(MixedCma, "__init__", refuse)
    genes = CONTINUOUS | {"n": Range(1, MAX_DISCRETE + 1, 1, is_integer=True)}
    propose = make_proposer(config.Sampler(), 0, Genotype({}, {}, genes=genes))
    nothing = CompletedTrials({}, genes).study()
    assert {type(propose(nothing, number)["n"]) for number in range(1, 20)} == {int}
    few = genes | {"n": Range(1, MAX_DISCRETE, 1, is_integer=True)}
    propose, nothing = (
        make_proposer(config.Sampler(), 0, Genotype({}, {}, genes=few)),
        CompletedTrials({}, few).study(),
    )
    with pytest.raises(AssertionError, match="not needed"):
        propose(nothing, 1)


@pytest.mark.parametrize("names", [["optimiser.name"], ["optimiser.lr"], list(GENES)[2:5:2]])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_genes_alone_are_a_search(start: Start, sampler: str, names: list[str]) -> None:
    genes = {name: GENES[name] for name in names}
    genotype = Genotype({}, {"simclr.rgb": 1.0}, genes=genes)
    assert genotype.evolves
    study = start(sampler, genotype=genotype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            proposal = study.ask()
            study.tell(
                proposal.number, status="complete", fitness=1.0, reason=None, seconds=1.0,
                indicators={},
            )  # fmt: skip
    assert all(row.weights == {"simclr.rgb": 1.0} for row in study.rows())
    assert len({tuple(row.genes.values()) for row in study.rows()}) >= 2


def test_resuming_with_other_genes_is_refused_by_name(start: Start, tmp_path: Path) -> None:
    start("cmaes", genotype=GENOTYPE).close()
    other = dict(GENES) | {"optimiser.lr": Range(0.001, 0.02, 0.001, log=True)}
    del other["optimiser.name"]
    genotype = Genotype(BOUNDS, {"order.rgb": 0.25}, genes=other)
    with pytest.raises(UserError) as refused:
        Study.resume(tmp_path / "run", genotype, config.Sampler(), 0)
    message = str(refused.value)
    assert "gene optimiser.lr is in [0.0005, 0.02] on a logarithmic scale, 0.001 at" in message
    assert "gene optimiser.name is one of ['adamw', 'sgd', 'lars'], adamw at first there" in message
    assert "queue_size" not in message
    Study.resume(tmp_path / "run", GENOTYPE, config.Sampler(), 0).close()


def test_gene_columns_have_types_and_are_read_back(start: Start, tmp_path: Path) -> None:
    study = start("random", genotype=GENOTYPE)
    run(study, 5)
    study.add_control("noise", "noise", 1.0, None, {}, 1.0)
    write_table(tmp_path / "trials.parquet", study.rows())
    assert read_table(tmp_path / "trials.parquet") == study.rows()
    schema = pq.read_schema(tmp_path / "trials.parquet")
    types = {name: schema.field(f"gene.{name}").type for name in GENES}
    assert list(types.values()) == [
        *(pa.float64(), pa.float64(), pa.int64(), pa.int64(), pa.string(), pa.bool_()),
    ]


def test_single_task_trials_keep_the_defaults_of_genes(start: Start) -> None:
    sets = tuple(frozenset([name]) for name in BOUNDS)
    genotype = Genotype(BOUNDS, {}, sets, GENES)
    study = start("cmaes", genotype=genotype)
    rows = run(study, 30)
    for row in rows[:3]:
        assert row.genes == rows[0].genes
    assert rows[1].weights == {"simclr.rgb": 1.0, "moco.rgb": 0.2}
    # The single tasks are not told to the optimiser: they shift its mean instead.
    assert rows[4].genes != rows[0].genes


def test_a_fast_starter_is_searched_and_resumed(start: Start, tmp_path: Path) -> None:
    bounds = {"byol.rgb": (0.0, 1.0), "simclr.rgb": (0.0, 1.0)}
    sets = tuple(frozenset([name]) for name in bounds)
    genotype = Genotype(bounds, {}, sets, GENES, {"simclr.rgb": 0.1})
    study = start("cmaes", genotype=genotype)
    rows = run(study, 20)
    assert [row.name for row in rows[:4]] == [
        *("equal weights", "byol with some simclr", "simclr alone", ""),
    ]
    assert rows[1].weights == {"byol.rgb": 1.0, "simclr.rgb": 0.1}
    expected = study.ask()
    study.close()
    with Study.open(tmp_path / "run") as resumed:
        assert resumed.genotype == genotype
        assert resumed.ask() == expected


def test_choices_stay_open_if_the_fitness_says_nothing() -> None:
    """With seed 12 the library's step size of the choices diverges to NaN."""
    genes = {"i": Range(1, 3, 1, is_integer=True), "c": Choices(("a", "b"))}
    bounds = {"a.rgb": (0.0, 1.0)}
    propose = make_proposer(config.Sampler(population=4), 12, Genotype(bounds, {}, genes=genes))
    finished, drawn = CompletedTrials(bounds, genes), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(1500):
            drawn.append(propose(finished.study(), number))
            finished.add(drawn[-1], "complete", 0.0)
    assert {values["c"] for values in drawn[1200:]} == {"a", "b"}
    assert {values["i"] for values in drawn[1200:]} == {1, 2, 3}


def test_a_diverged_distribution_of_choices_stops() -> None:
    parameters = list(distributions({"a.rgb": (0.0, 1.0)}, GENES).values())
    for attribute in ("_q", "_mean"):
        optimiser = MixedCma(parameters, np.full(len(parameters), 0.5), 0.2, None)
        assert not optimiser.should_stop()
        getattr(optimiser._cma, attribute)[:] = np.nan
        assert optimiser.should_stop()
