"""The search space: which YAML is accepted, and what the error says when it is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.io.spaces import load_space, parse_space
from evossl.types import Stream

LEAST: dict[str, Any] = {"ignores": ["crop", "time"], "tasks": {"simclr": {}}}


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_space(raw, "space.yaml")
    return str(caught.value)


def every_key(model: type[BaseModel], *above: str) -> Iterator[tuple[str, ...]]:
    """The path of every key below a model."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from every_key(field.annotation, *above, name)


KEYS = list(every_key(SearchSpace))


def with_value(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The least space with one key set."""
    nested: object = value
    for key in reversed(path[1:]):
        nested = {key: nested}
    return {**LEAST, path[0]: nested}


def test_every_nested_key_is_listed() -> None:
    assert ("clip", "frames") in KEYS
    assert ("budget", "deadline_seconds") in KEYS
    assert len(KEYS) > 40


@pytest.mark.parametrize("path", KEYS, ids=".".join)
@pytest.mark.parametrize("value", [{"wrong": {"as": "can be"}}, -7, "seven", [7, 8, 9]], ids=str)
def test_errors_start_with_the_full_key(path: tuple[str, ...], value: object) -> None:
    try:
        parse_space(with_value(path, value), "space.yaml")
    except UserError as error:
        for line in str(error).splitlines():
            assert line.startswith(f"space.yaml: {'.'.join(path)}")
            assert "instance" not in line
            assert "tuple" not in line
            assert "dictionary" not in line


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_refuses_a_wrong_type(path: tuple[str, ...]) -> None:
    assert refusal(with_value(path, {"wrong": {"as": "can be"}}))


@pytest.mark.parametrize("path", [path for path in KEYS if len(path) == 2], ids=".".join)
def test_a_misspelt_key_is_answered_with_the_right_one(path: tuple[str, ...]) -> None:
    said = refusal(with_value((path[0], path[1] + "s"), 1))
    assert said.startswith(f"space.yaml: {path[0]}: unknown key '{path[1]}s': did you mean")
    assert f"did you mean '{path[1]}'" in said


def test_a_weight_stays_a_number_or_a_pair() -> None:
    """A number is fixed and a pair evolves; 0 and 1 are allowed, and bounds may be equal."""
    for weight in (0.25, 1, (0.0, 1.0), (0.5, 0.5)):
        space = parse_space({**LEAST, "tasks": {"simclr": {"weight": weight}}}, "")
        assert space.tasks["simclr"].weight == weight
    assert parse_space(LEAST, "").tasks["simclr"].weight == (0.0, 1.0)


def test_some_but_not_all_weights_may_be_zero() -> None:
    tasks = {"simclr": {"weight": 0}, "order_binary": {"weight": 0.5}}
    assert parse_space({**LEAST, "tasks": tasks}, "").tasks["simclr"].weight == 0
    tasks["order_binary"]["weight"] = 0
    assert "every weight is zero" in refusal({**LEAST, "tasks": tasks})


def test_a_task_without_keys_has_the_defaults() -> None:
    assert parse_space({**LEAST, "tasks": {"simclr": None}}, "") == parse_space(LEAST, "")


def test_a_space_survives_a_round_trip_through_json() -> None:
    for name in ("tiny", "elo"):
        space = load_space(name)
        assert parse_space(space.model_dump(mode="json"), "run.yaml") == space
        assert SearchSpace.model_validate_json(space.model_dump_json()) == space


def test_a_space_is_frozen() -> None:
    space = parse_space(LEAST, "")
    with pytest.raises(ValidationError):
        space.about = "other"  # type: ignore[misc]


def test_overrides_replace_top_level_keys_and_are_checked() -> None:
    space = load_space("tiny", {"ignores": ["crop"], "streams": ["rgb"]})
    assert space.ignores == ("crop",)
    assert space.streams == (Stream.RGB,)
    assert space.tasks == load_space("tiny").tasks
    with pytest.raises(UserError, match="did you mean 'colour'"):
        load_space("tiny", {"ignores": ["color"]})


def test_ignores_may_come_from_an_override_alone(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("tasks: {simclr: {}}\n")
    with pytest.raises(UserError, match="what the encoder must be invariant to") as caught:
        load_space(file)
    assert "`evossl init --data VIDEOS" in str(caught.value)
    assert load_space(file, {"ignores": ["crop", "time"]}).ignores == ("crop", "time")


def test_a_shipped_name_wins_over_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny").write_text("ignores: [crop]\ntasks: {simclr: {}}\n")
    Path("mine").write_text("ignores: [crop]\ntasks: {simclr: {}}\n")
    assert load_space("mine").ignores == ("crop",)
    assert load_space("tiny").about.startswith("The demo's")
    assert load_space("./tiny").ignores == ("crop",)
