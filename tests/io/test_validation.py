"""Validation errors name the whole key and say what is wrong in YAML's words, for any model."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evossl.io.validation import explain


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: Annotated[int, Field(gt=0)] = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = "a"
    kind: Literal["adamw", "sgd"] = "sgd"
    inner: Inner = Inner()
    many: dict[str, Inner] = {}
    listed: list[Inner] = []
    mean: tuple[float, float, float] = (0, 0, 0)
    even: Annotated[int, Field(multiple_of=2)] = 0
    scale: float = 1


NAMES = list(Outer.model_fields)


def lines(raw: Any, prefix: str = "") -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(raw)
    return explain(caught.value, Outer, prefix)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1], "Input should be a valid mapping of keys (got [1])"),
        ({"nam": "b"}, "unknown key 'nam': did you mean 'name'?"),
        ({"inner": {"stepz": 1}}, "inner: unknown key 'stepz': did you mean 'steps'?"),
        ({"many": {"b": {"stepz": 1}}}, "many.b: unknown key 'stepz': did you mean 'steps'?"),
        ({"listed": [{"stepz": 1}]}, "listed.0: unknown key 'stepz': did you mean 'steps'?"),
        ({"inner": 3}, "inner: Input should be a valid mapping of keys (got 3)"),
        ({"inner": {"steps": 0}}, "inner.steps: Input should be greater than 0 (got 0)"),
        (
            {"inner": {"steps": 1.5}},
            "inner.steps: Input should be a valid integer, got a number with",
        ),
        ({"many": [1]}, "many: Input should be a valid mapping of keys (got [1])"),
        ({"listed": 3}, "listed: Input should be a valid list (got 3)"),
        ({"kind": "adam"}, "kind: unknown word 'adam': did you mean 'adamw'?"),
        ({"mean": 0}, "mean: Input should be a valid list (got 0)"),
        ({"mean": [0, 0]}, "mean.2: Field required; add it"),
        ({"mean": [0, 0, 0, 0]}, "mean: List should have at most 3 items, not 4 (got [0, 0"),
        ({"mean": [0, "b", 0]}, "mean.1: Input should be a valid number"),
        ({"name": 3}, "name: Input should be a valid string (got 3)"),
        ({"even": 3}, "even: Input should be a multiple of 2 (got 3)"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_fault_is_reported_by_its_key_in_yaml_words(raw: Any, message: str) -> None:
    (line,) = lines(raw)
    assert line.startswith(message)


def test_each_of_several_faults_has_a_line() -> None:
    assert lines({"name": 3, "scale": [1]}) == [
        "name: Input should be a valid string (got 3)",
        "scale: Input should be a valid number (got [1])",
    ]


def test_a_prefix_stands_before_every_key() -> None:
    assert lines({"even": 3, "nam": 1}, "tasks.own") == [
        "tasks.own.even: Input should be a multiple of 2 (got 3)",
        "tasks.own: unknown key 'nam': did you mean 'name'? Known: " + ", ".join(sorted(NAMES)),
    ]
    assert lines([1], "tasks")[0].startswith("tasks: Input should be a valid mapping of keys")
