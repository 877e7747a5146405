"""A person's YAML: faults by file and line, and nothing that stands twice."""

import pytest

from evossl.errors import UserError
from evossl.io.yaml_file import parse_yaml


def test_what_is_right_is_read() -> None:
    text = "a: &x {b: 1, c: [2, 3]}\nd: {<<: *x, b: 4}\n"
    assert parse_yaml(text, "f.yaml") == {
        "a": {"b": 1, "c": [2, 3]},
        "d": {"b": 4, "c": [2, 3]},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml: line 3: not YAML: 'a' stands twice, first in line 1"),
        ("t:\n  x: 1\n  x: 1\n", "f.yaml: line 3: not YAML: 'x' stands twice, first in line 2"),
        ("a: {b: 1,\n b: 1}\n", "f.yaml: line 2: not YAML: 'b' stands twice, first in line 1"),
        ("{b: 1, b: 2}", "f.yaml: line 1: not YAML: 'b' stands twice, first in line 1"),
        ("a: [1, 2\n", "f.yaml: line 2: not YAML: "),
        ("a: b: c\n", "f.yaml: line 1: not YAML: mapping values are not allowed here"),
        ("a: \x00", "f.yaml: not YAML: "),
        ("!!python/object/apply:os.system ['true']", "f.yaml: line 1: not YAML: could not "),
    ],
)
def test_what_is_wrong_is_said_by_file_and_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).startswith(said)
