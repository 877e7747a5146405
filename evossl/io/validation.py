"""Pydantic's validation errors as lines for the user: the key, what is wrong, a suggestion."""

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evossl.errors import unknown

YAML_WORDS = (
    (r" or instance of \w+", ""),
    (r"\b(tuple|array)\b", "list"),
    (r"\bTuple\b", "List"),
    (r"\bdictionary\b", "mapping of keys"),
    (r"\ban object\b", "a mapping of keys"),
    (r" after validation", ""),
)
"""Patterns in pydantic's messages (terms of Python and JSON) and what replaces them for YAML."""


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return one line for each fault: its full key, pydantic's message, and the value given.

    For an unknown key or word, the line suggests the nearest known one instead.

    Args:
        error: raised by validating `model`.
        model: the model, for the names of its keys.
        prefix: the key under which the model stands in the user's file, or "".
    """
    return [_line(problem, model, prefix) for problem in error.errors()]


def _line(problem: Any, model: type[BaseModel], prefix: str) -> str:
    where, given, context = problem["loc"], problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            *where, last = where
            message = unknown("key", str(last), _keys(model, where))
        case "enum" | "literal_error":
            known = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            message = unknown("word", str(given), known)
        case "missing":
            message = f"{problem['msg']}; add it"
        case "value_error":  # raised by a validator of ours
            message = str(context["error"])
        case _:
            message = f"{_in_yaml_words(problem['msg'])} (got {given!r})"
    key = ".".join(map(str, [prefix, *where] if prefix else where))
    return f"{key}: {message}" if key else message


def _in_yaml_words(message: str) -> str:
    for pattern, replacement in YAML_WORDS:
        message = re.sub(pattern, replacement, message)
    return message


def _keys(model: Any, path: Sequence[str | int]) -> list[str]:
    """Return the keys that the mapping at `path` below the model may have."""
    for part in path:
        if hasattr(model, "model_fields"):
            model = model.model_fields[part].annotation
        else:  # a list or a mapping of names: the type of its items
            *_, model = get_args(model)
    return list(model.model_fields)
