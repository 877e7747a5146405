"""YAML files: errors name the file and line, duplicate keys are refused, numbers are YAML 1.2's."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evossl.errors import UserError
from evossl.io.yaml_file import dump_yaml, parse_yaml


def test_aliases_and_merge_keys_are_resolved() -> None:
    text = "a: &x {b: 1, c: [2, 3]}\nd: {<<: *x, b: 4}\ne: {<<: *x}\n"
    assert parse_yaml(text, "f.yaml") == {
        "a": {"b": 1, "c": [2, 3]},
        "d": {"b": 4, "c": [2, 3]},
        "e": {"b": 1, "c": [2, 3]},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),  # a string in YAML 1.1
        ("5E-4", 0.0005),
        ("-1.5e+2", -150.0),
        (".inf", math.inf),
        ("3", 3),
        ("010", 10),  # octal, 8, in YAML 1.1
        ("true", True),
        ("yes", "yes"),  # these two are booleans in YAML 1.1
        ("on", "on"),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(f"key: {text}", "f.yaml")["key"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: not valid YAML: key 'a' is already given on line 1; rem"),
        ("t:\n  x: 1\n  x: 1\n", "line 3: not valid YAML: key 'x' is already given on line 2"),
        ("a: {b: 1,\n b: 1}\n", "line 2: not valid YAML: key 'b' is already given on line 1"),
        ("{b: 1, b: 2}", "line 1: not valid YAML: key 'b' is already given on line 1"),
        ("a: &x {c: 1}\nb:\n  <<: *x\n  c: 1\n  c: 2", "line 5: not valid YAML: key 'c' is alre"),
        ("a: [1, 2\n", "line 2: not valid YAML: expected ',' or ']'"),
        ("a: b: c\n", "line 1: not valid YAML: mapping values are not allowed here"),
        ("a: \x00", "not valid YAML: unacceptable character"),
        ("a: 1\n---\nb: 2\n", "line 2: not valid YAML: "),
        ("!!python/object/apply:os.system ['true']", "line 1: not valid YAML: could not "),
    ],
)
def test_an_error_names_the_file_and_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml: {message}")


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\n\t"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8
)


@given(value=VALUES, inline_leaves=st.booleans())
def test_what_is_dumped_is_parsed_unchanged(value: Any, inline_leaves: bool) -> None:
    assert parse_yaml(dump_yaml(value, inline_leaves=inline_leaves), "f.yaml") == value


def test_dumped_yaml_keeps_the_order_of_keys() -> None:
    value = {"b": {"y": (1, 2), "x": 1e-05}, "a": "gray->rgb", "c": [{"d": "x " * 200}]}
    lines = ["b:", "  y:", "  - 1", "  - 2", "  x: 1e-05", "a: gray->rgb", "c:"]
    assert dump_yaml(value).splitlines()[:-1] == lines
    assert dump_yaml(value, inline_leaves=True).startswith("b:\n  y: [1, 2]\n  x: 1e-05\na: ")
