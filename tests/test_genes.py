"""Genes in a space: which keys may declare a range, and what the error says when one may not."""

from typing import Any

import pytest

from evossl.config import Fitness, SearchSpace
from evossl.errors import UserError
from evossl.genes import Choices, Range
from evossl.io.spaces import load_space, parse_space
from evossl.training.resolved_space import ResolvedSpace, resolve_space

LEAST: dict[str, Any] = {"ignores": ["crop", "time"], "tasks": {"simclr": {}}}
LR = {"low": 0.0005, "high": 0.02, "log": True}


def space_of(**keys: Any) -> SearchSpace:
    return parse_space(LEAST | keys, "space.yaml")


def resolve(options: dict[str, Any], task: str = "simclr") -> ResolvedSpace:
    return resolve_space(space_of(tasks={task: {"options": options}}))


def refusal(**keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        resolve_space(space_of(**keys))
    return str(caught.value)


def test_a_range_is_a_gene_and_its_key_has_a_default() -> None:
    space = space_of(optimiser={"lr": LR, "name": {"choices": ["sgd", "adamw"]}})
    assert space.genes == {
        "optimiser.lr": Range(0.0005, 0.02, 0.001, log=True),
        "optimiser.name": Choices(("sgd", "adamw")),
    }
    assert (space.optimiser.lr, space.optimiser.name) == (0.001, "sgd")


@pytest.mark.parametrize(
    ("declared", "default"),
    [
        ({"low": 1e-4, "high": 1e-2}, 1e-3),  # the model's default lies within
        ([1e-4, 1e-2], 1e-3),
        ({"low": 0.01, "high": 0.03}, 0.02),  # the middle
        ({"low": 0.01, "high": 0.09, "log": True}, 0.03),  # the geometric mean
    ],
)
def test_the_default_of_a_range_lies_in_it(declared: Any, default: float) -> None:
    assert space_of(optimiser={"lr": declared}).optimiser.lr == pytest.approx(default)


def test_an_integer_key_has_an_integer_range() -> None:
    (gene,) = space_of(training={"accumulate": [2, 9]}).genes.values()
    assert gene == Range(2, 9, 6, is_integer=True)  # the middle, 5.5, rounded to an even number
    assert isinstance(gene.default, int)
    assert gene.contains(9)
    assert not gene.contains(2.5)


def test_task_options_are_genes_by_their_annotations() -> None:
    options = {"temperature": [0.05, 0.5], "rho": {"low": 1, "high": 4}}
    resolved = resolve(options)
    assert resolved.genes == {
        "tasks.simclr.options.temperature": Range(0.05, 0.5, 0.1),
        "tasks.simclr.options.rho": Range(1, 4, 2, is_integer=True),
    }
    assert resolved.space.tasks["simclr"].options == {"temperature": 0.1, "rho": 2}
    flags = {"symmetric": {"choices": [True, False]}, "queue_size": {"low": 16, "high": 64}}
    assert resolve(flags, "moco").genes["tasks.moco.options.symmetric"] == Choices((True, False))


def test_an_option_that_holds_a_list_is_no_range() -> None:
    resolved = resolve({"strides": [1, 3]}, "tempo")
    assert resolved.genes == {}
    assert resolved.space.tasks["tempo"].options == {"strides": [1, 3]}


def test_a_trial_space_has_the_values_of_its_genes() -> None:
    space = space_of(
        optimiser={"lr": LR}, tasks={"simclr": {"options": {"temperature": [0.05, 0.5]}}}
    )
    values = {"optimiser.lr": 0.003, "tasks.simclr.options.temperature": 0.4}
    concrete = resolve_space(space).with_genes(values).space
    assert concrete == space_of(
        optimiser={"lr": 0.003}, tasks={"simclr": {"options": {"temperature": 0.4}}}
    )
    assert space.optimiser.lr == 0.001  # the space itself is unchanged


def test_only_declared_genes_take_values_in_their_range() -> None:
    resolved = resolve_space(space_of(optimiser={"lr": LR}))
    with pytest.raises(UserError, match=r"unknown gene 'optimiser\.wd'"):
        resolved.with_genes({"optimiser.wd": 0.1})
    for value in (0.03, True, "fast"):
        with pytest.raises(UserError, match=r"gene optimiser\.lr: .* must be in \[0"):
            resolved.with_genes({"optimiser.lr": value})


def test_a_space_with_genes_survives_a_round_trip() -> None:
    """`run.yaml` and the workers have the ranges as they were written."""
    keys = {
        "optimiser": {"lr": LR, "name": {"choices": ["sgd", "adamw"]}},
        "tasks": {"simclr": {"options": {"temperature": [0.05, 0.5]}}},
    }
    space = space_of(**keys)
    plain = space.model_dump(mode="json")
    assert plain["optimiser"]["lr"] == LR
    assert plain["optimiser"]["name"] == {"choices": ["sgd", "adamw"]}
    assert plain["tasks"]["simclr"]["options"] == {"temperature": [0.05, 0.5]}
    assert parse_space(plain, "run.yaml") == space
    again = SearchSpace.model_validate_json(space.model_dump_json())
    assert again.genes == space.genes
    assert resolve_space(again).genes == resolve_space(space).genes
    assert space != space_of(**keys | {"optimiser": {"lr": 0.001, "name": "sgd"}})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"optimiser": {"lr": [-1, 1]}}, "optimiser.lr.low: Input should be greater than 0"),
        ({"optimiser": {"lr": [0.1, 0.01]}}, "optimiser.lr: low must be below high"),
        ({"optimiser": {"lr": {"low": 1}}}, "optimiser.lr: a range needs `low` and `high`"),
        ({"optimiser": {"lr": LR | {"log": "yes"}}}, "optimiser.lr.log: must be true or false"),
        ({"optimiser": {"lr": LR | {"high": "x"}}}, "optimiser.lr.high: must be a number"),
        ({"optimiser": {"lr": LR | {"high": float("inf")}}}, "optimiser.lr.high: must be a finite"),
        ({"optimiser": {"weight_decay": LR | {"low": 0}}}, "a logarithmic range starts above 0"),
        ({"optimiser": {"name": {"low": 1, "high": 2}}}, "optimiser.name: is not a number: write"),
        ({"optimiser": {"name": {"choices": ["sgd", "adam"]}}}, "optimiser.name.choices.1: Input"),
        ({"optimiser": {"lr": {"choices": [0.1]}}}, "optimiser.lr: needs two or more choices"),
        ({"optimiser": {"lr": {"choices": [1, 1.0]}}}, "names a choice twice"),
        (
            {"training": {"accumulate": [1.5, 2]}},
            "training.accumulate.low: Input should",
        ),
        ({"augmentation": {"colour_strength": [0, 1]}}, "has no effect, because `ignores` lacks"),
    ],
)
def test_a_range_that_its_key_forbids_is_refused(keys: dict[str, Any], said: str) -> None:
    message = refusal(**keys)
    section = next(iter(keys))
    assert message.startswith(f"space.yaml: {section}.")
    assert said in message


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("simclr", {"temperature": [0, 1]}, "temperature.low: Input should be greater than 0"),
        ("simclr", {"rho": [1, 9]}, "rho.high: Input should be less than or equal to 4 (got 9)"),
        ("triplet", {"negatives": {"low": 1, "high": 2}}, "negatives: is not a number: write"),
        ("tempo", {"strides": {"choices": [1, 2]}}, "strides: cannot be a gene"),
        ("moco", {"symmetric": {"choices": [True, "no"]}}, "symmetric.choices.1: Input should be"),
    ],
)
def test_a_range_that_an_option_forbids_is_refused(
    task: str, options: dict[str, Any], said: str
) -> None:
    message = refusal(tasks={task: {"options": options}})
    assert message.startswith(f"tasks.{task}.options.{said}")


SHARED = [f"fitness.{key}" for key in Fitness.model_fields] + [
    *("clip.size", "clip.frames", "cache.fps", "backbone.name", "backbone.width", "budget.steps"),
    *("sampler.name", "training.batch_size", "training.normalize", "streams", "ignores"),
]


@pytest.mark.parametrize("key", SHARED)
def test_a_gene_on_a_shared_key_is_refused_by_name(key: str) -> None:
    section, _, inner = key.partition(".")
    for gene in ({"low": 1, "high": 2}, {"choices": [1, 2]}):
        message = refusal(**{section: {inner: gene} if inner else gene})
        assert message.startswith(f"space.yaml: {key}: cannot be a gene: ")
        assert message.endswith("run a search for each value that you want to compare")


def test_shipped_spaces_declare_no_genes() -> None:
    """The demo and the tests search loss weights alone."""
    assert resolve_space(load_space("tiny")).genes == {}
