"""YAML that a person wrote: its faults are said by line, and a key that stands twice is one."""

from collections.abc import Hashable
from typing import Any

import yaml

from evossl.errors import UserError


def parse_yaml(text: str, where: str) -> Any:
    """Return what the text holds.

    Args:
        text: YAML.
        where: the file's name, for the messages.

    Raises:
        UserError: not YAML, or a key that stands twice: YAML itself would take the last.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}: {line}not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key in lines:
                problem = f"{key!r} stands twice, first in line {lines[key]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            lines[key] = line
        return super().construct_mapping(node, deep)
