"""Read and write YAML 1.2, safely: no tags that construct Python objects."""

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from evossl.errors import UserError

MAX_LINE_WIDTH = 1000  # of dumped YAML: long strings are not wrapped


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of a YAML document as plain Python values.

    Args:
        text: one YAML document.
        where: the file's name, for error messages.

    Raises:
        UserError: the text is not valid YAML, or a mapping has the same key twice; the message
            names the line.
    """
    yaml = YAML(typ="safe", pure=True, plug_ins=[])
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}: {line}not valid YAML: {error.problem}") from error
    except YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {error}") from error


def dump_yaml(value: Any, *, inline_leaves: bool = False) -> str:
    """Return `value` as YAML, keys in their given order.

    Args:
        value: dicts, lists, tuples (written as lists), strings, numbers, booleans, None.
        inline_leaves: write collections of scalars on one line: `{frames: 8, stretch: 16}`.
    """
    yaml = YAML(typ="safe", pure=True, plug_ins=[])
    yaml.Representer = _Representer
    yaml.default_flow_style = None if inline_leaves else False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # None sorts
    yaml.allow_unicode = True
    yaml.width = MAX_LINE_WIDTH
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


class _Representer(SafeRepresenter):
    """ruamel's safe representer; it also quotes the strings that ruamel forgets to quote."""

    def represent_str(self, text: str) -> ScalarNode:
        style = "'" if text.startswith(("?", ":")) else None  # wrong bare, inside {} and []
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _Representer.represent_str)


class _Constructor(SafeConstructor):
    """ruamel's safe constructor; its error about a duplicate key names both lines.

    ruamel itself names only the second line, and accepts duplicates beside a merge key (`<<`).
    """

    def flatten_mapping(self, node: MappingNode) -> None:
        if node.merge is None:  # not flattened yet: these are the keys as written
            _refuse_duplicates(node)
        super().flatten_mapping(node)


def _refuse_duplicates(node: MappingNode) -> None:
    first_lines: dict[tuple[str | None, str], int] = {}
    for key, _ in node.value:
        mark = key.start_mark
        identity = (key.tag, str(key.value))
        if identity in first_lines:
            problem = f"key {key.value!r} is already given on line {first_lines[identity]}"
            raise DuplicateKeyError(None, None, f"{problem}; remove one of them", mark)
        first_lines[identity] = mark.line + 1
