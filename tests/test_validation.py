"""What pydantic refuses is said by its key and in plain words, whatever the model."""

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


def lines(raw: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(raw)
    return explain(caught.value, Outer, "outer")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([1], "outer: needs a mapping of keys, {key: value}, got [1]"),
        ({"nam": "b"}, "outer: unknown key 'nam': did you mean 'name'?"),
        ({"inner": {"stepz": 1}}, "inner: unknown key 'stepz': did you mean 'steps'?"),
        ({"many": {"b": {"stepz": 1}}}, "many.b: unknown key 'stepz': did you mean 'steps'?"),
        ({"listed": [{"stepz": 1}]}, "listed.0: unknown key 'stepz': did you mean 'steps'?"),
        ({"inner": {"steps": 0}}, "inner.steps: must be over 0, got 0"),
        ({"inner": {"steps": 1.5}}, "inner.steps: needs a whole number, got 1.5"),
        ({"many": [1]}, "many: needs a mapping, {name: ...}, got [1]"),
        ({"listed": 3}, "listed: needs a list, got 3"),
        ({"kind": "adam"}, "kind: unknown word 'adam': did you mean 'adamw'?"),
        ({"mean": [0, 0]}, "mean: has too few values"),
        ({"mean": [0, 0, 0, 0]}, "mean: needs 3 values, got 4"),
        ({"mean": [0, "b", 0]}, "mean: needs a number, got 'b'"),
        ({"name": 3}, "name: needs a word, got 3"),
        ({"even": 3}, "even: cannot be 3"),  # a fault that nobody has foreseen
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_fault_is_said_by_its_key_and_in_plain_words(raw: Any, said: str) -> None:
    (line,) = lines(raw)
    assert line.startswith(said)


def test_each_of_several_faults_has_a_line() -> None:
    assert lines({"name": 3, "scale": "wide"}) == [
        "name: needs a word, got 3",
        "scale: needs a number, got 'wide'",
    ]
