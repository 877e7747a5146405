"""What pydantic refuses of a file, in words of this house: the key, what it needs, what is near."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evossl.errors import unknown

NEEDS = {
    "missing": "is missing",
    "tuple_type": "needs a list, [{input}]",
    "list_type": "needs a list, got {input!r}",
    "too_short": "needs {min_length} values or more, got {actual_length}",
    "too_long": "needs {max_length} values, got {actual_length}",
    "model_type": "needs a mapping of keys, {{key: value}}, got {input!r}",
    "dict_type": "needs a mapping, {{name: ...}}, got {input!r}",
    "int_type": "needs a whole number, got {input!r}",
    "int_parsing": "needs a whole number, got {input!r}",
    "int_from_float": "needs a whole number, got {input!r}",
    "float_type": "needs a number, got {input!r}",
    "float_parsing": "needs a number, got {input!r}",
    "bool_type": "needs true or false, got {input!r}",
    "bool_parsing": "needs true or false, got {input!r}",
    "string_type": "needs a word, got {input!r}",
    "finite_number": "needs a finite number, got {input}",
    "greater_than": "must be over {gt:g}, got {input}",
    "greater_than_equal": "must be at least {ge:g}, got {input}",
    "less_than_equal": "must be at most {le}, got {input}",
    "less_than": "must be under {lt:g}, got {input}",
    "value_error": "{error}",
}
"""What to do about each of pydantic's errors."""


def explain(error: ValidationError, model: type[BaseModel], whole: str) -> list[str]:
    """Return a line for each thing that is wrong: its key, what it needs, the nearest right word.

    Args:
        error: pydantic's.
        model: what was to be made.
        whole: what to call it where no key of it is meant.
    """
    return [_line(problem, model, whole) for problem in error.errors()]


def _line(problem: Any, model: type[BaseModel], whole: str) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        *parents, last = where
        return f"{'.'.join(parents) or whole}: {unknown('key', last, _keys(model, parents))}"
    key = ".".join(part for part in where if not part.isdigit()) or whole
    if problem["type"] in ("enum", "literal_error"):
        known = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        kind = "stream" if key == "streams" else "word"
        return f"{key}: {unknown(kind, str(problem['input']), known)}"
    if problem["type"] == "missing" and where[-1].isdigit():
        return f"{key}: has too few values"
    values = {"input": problem["input"], **problem.get("ctx", {})}
    return f"{key}: {NEEDS.get(problem['type'], 'cannot be {input!r}').format(**values)}"


def _keys(model: Any, parents: list[str]) -> list[str]:
    """The keys that a mapping at this place of the model may have."""
    for part in parents:
        if hasattr(model, "model_fields"):
            model = model.model_fields[part].annotation
        else:  # a name of a mapping: what it holds
            *_, model = get_args(model)
    return list(model.model_fields)
