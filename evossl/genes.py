"""Genes: what a search may change in a space besides loss weights.

A key that declares a range or choices in place of a value is a gene:

    optimiser: {lr: {low: 0.0005, high: 0.02, log: true}, name: {choices: [adamw, sgd]}}

A numeric key may also declare its range as a pair of numbers. A gene is called by its full key, for
example `optimiser.lr` or `tasks.simclr.options.temperature`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

GeneValue = bool | int | float | str
FindProblem = Callable[[str, object], str | None]
"""Returns what is wrong with a value of the named key ("optimiser.lr: ..."), or None."""

RANGE_KEYS, CHOICE_KEYS = frozenset({"low", "high", "log"}), frozenset({"choices"})
HOW_TO_WRITE = "write {low: 1, high: 9}, with `log: true` for a logarithmic range"


@dataclass(frozen=True)
class Range:
    """A gene whose values are the numbers from `low` to `high`, both included.

    Attributes:
        low, high: the bounds; ints if `is_integer`.
        default: its value in trial 0 and wherever no trial is concerned.
        log: whether equal ratios count as equal distances.
        is_integer: whether only integers are allowed.
    """

    low: float
    high: float
    default: float
    log: bool = False
    is_integer: bool = False

    @property
    def extremes(self) -> tuple[GeneValue, ...]:
        """The values that a preflight check tries."""
        return self.low, self.high

    def contains(self, value: object) -> bool:
        """Say whether the gene may have this value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.is_integer or value == int(value))

    def as_written(self) -> dict[str, Any]:
        """Return the gene as a space declares it."""
        return {"low": self.low, "high": self.high} | ({"log": True} if self.log else {})

    def __str__(self) -> str:
        return f"in [{self.low}, {self.high}]{' on a logarithmic scale' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """A gene with a few possible values, without an order: words, numbers, or true and false."""

    choices: tuple[GeneValue, ...]

    @property
    def default(self) -> GeneValue:
        """Its value in trial 0 and wherever no trial is concerned."""
        return self.choices[0]

    @property
    def extremes(self) -> tuple[GeneValue, ...]:
        """The values that a preflight check tries: all of them."""
        return self.choices

    def contains(self, value: object) -> bool:
        """Say whether the gene may have this value."""
        return any(value == choice and type(value) is type(choice) for choice in self.choices)

    def as_written(self) -> dict[str, Any]:
        """Return the gene as a space declares it."""
        return {"choices": list(self.choices)}

    def __str__(self) -> str:
        return f"one of {list(self.choices)}"


Gene = Range | Choices


def scalar_types(annotation: Any) -> set[type]:
    """Return the types that a key accepts: {float, NoneType} for `PositiveFloat | None`.

    It is empty for an annotation that says nothing, such as a string or none at all.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return scalar_types(inner[0])
    if origin in (Union, UnionType):
        return set().union(*map(scalar_types, inner))
    if origin is Literal:
        return {type(value) for value in inner}
    found = origin or annotation
    says_nothing = found is inspect.Parameter.empty or not isinstance(found, type)
    return set() if says_nothing else {found}


def is_number(value: object) -> bool:
    """Say whether a YAML or JSON value is a number; `true` and `false` are ints only to Python."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_numeric(annotation: Any) -> bool:
    """Say whether a key holds one number."""
    types = scalar_types(annotation)
    return bool(types & {int, float}) and types <= {int, float, NoneType}


def declares_gene(raw: object, annotation: Any) -> bool:
    """Say whether the value of a key in a space is a range or choices instead of a plain value."""
    if isinstance(raw, Mapping):
        takes_mapping = any(issubclass(kind, Mapping) for kind in scalar_types(annotation))
        keys = set(raw)
        known = keys <= RANGE_KEYS | CHOICE_KEYS and bool(keys - {"log"})
        return known and not takes_mapping
    is_pair = isinstance(raw, list | tuple) and len(raw) == 2 and all(map(is_number, raw))
    return is_pair and is_numeric(annotation)


def read_gene(
    key: str, raw: Any, annotation: Any, model_default: object, find_problem: FindProblem
) -> Gene:
    """Return the gene that a key declares.

    Args:
        key: its full name.
        raw: as in the space; `declares_gene` is true for it.
        annotation: the type of the key's values.
        model_default: the key's value in a space that does not mention it. It is the default of a
            range that contains it. The default of any other range is the middle, and that of
            choices is the first.
        find_problem: checks one value.

    Raises:
        ValueError: the range or a choice is not allowed; names the key and the remedy.
    """
    if not scalar_types(annotation) <= {bool, int, float, str, NoneType}:
        raise ValueError(
            f"{key}: cannot be a gene, because it is not a single number or word; give one value"
        )
    if isinstance(raw, Mapping) and "choices" in raw:
        return _read_choices(key, raw, annotation, find_problem)
    given = raw if isinstance(raw, Mapping) else {"low": raw[0], "high": raw[1]}
    low, high, log = _checked_bounds(key, given, annotation, find_problem)
    is_integer = isinstance(low, int) and isinstance(high, int)
    if scalar_types(annotation):
        is_integer = float not in scalar_types(annotation)
    elif is_integer and isinstance(model_default, float):
        is_integer = False
    if not is_integer:
        low, high = float(low), float(high)
    middle = math.sqrt(low * high) if log else (low + high) / 2
    default = min(max(middle, low), high)
    if is_number(model_default):
        assert isinstance(model_default, int | float)
        default = model_default if low <= model_default <= high else default
    default = round(default) if is_integer else float(default)
    return Range(low, high, default, log, is_integer)


def _checked_bounds(
    key: str, given: Mapping[str, Any], annotation: Any, find_problem: FindProblem
) -> tuple[float, float, bool]:
    types, log = scalar_types(annotation), given.get("log", False)
    if types and not is_numeric(annotation):
        raise ValueError(f"{key}: is not a number: write {{choices: [first, second]}}")
    if not {"low", "high"} <= given.keys() or "choices" in given:
        raise ValueError(f"{key}: a range needs `low` and `high`: {HOW_TO_WRITE}")
    if not isinstance(log, bool):
        raise ValueError(f"{key}.log: must be true or false (got {log!r})")
    low, high = given["low"], given["high"]
    for name, value in (("low", low), ("high", high)):
        if not is_number(value):
            raise ValueError(f"{key}.{name}: must be a number (got {value!r}): {HOW_TO_WRITE}")
        if problem := find_problem(f"{key}.{name}", value):
            raise ValueError(problem)
    if not low < high:
        raise ValueError(
            f"{key}: low must be below high (got {low:g} and {high:g}); write one number to fix it"
        )
    if log and low <= 0:
        raise ValueError(f"{key}.low: a logarithmic range starts above 0 (got {low:g})")
    return low, high, log


def _read_choices(
    key: str, raw: Mapping[str, Any], annotation: Any, find_problem: FindProblem
) -> Choices:
    values = raw["choices"]
    if set(raw) != CHOICE_KEYS or not isinstance(values, list | tuple) or len(values) < 2:
        raise ValueError(f"{key}: needs two or more choices: write {{choices: [first, second]}}")
    for index, value in enumerate(values):
        if problem := find_problem(f"{key}.choices.{index}", value):
            raise ValueError(problem)
    kinds = {float if is_number(value) else type(value) for value in values}
    if len(kinds) > 1 or not kinds <= {float, str, bool}:
        raise ValueError(f"{key}.choices: must be all numbers, all words, or true and false")
    has_fractions = any(isinstance(value, float) for value in values)
    if has_fractions or float in scalar_types(annotation):
        values = [float(value) for value in values]
    if len(set(values)) < len(values):
        raise ValueError(f"{key}.choices: {list(values)} names a choice twice; remove one")
    return Choices(tuple(values))
