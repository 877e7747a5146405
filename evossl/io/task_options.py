"""Types for the options of tasks, and the check of a space's options against them.

A task annotates the options in its `__init__` with these types. A plain range needs no other check.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, PydanticUserError, TypeAdapter, ValidationError

from evossl.config import UnitInterval as UnitInterval
from evossl.errors import UserError, unknown
from evossl.genes import Gene, declares_gene, read_gene
from evossl.io.validation import explain

MAX_COUNT = 1 << 20  # rows or clusters: four times the largest published; protects the memory

PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]
"""A temperature or a margin."""
NonNegativeFloat = Annotated[FiniteFloat, Field(ge=0)]
"""The weight of one part of a loss; 0 disables it."""
OpenUnitInterval = Annotated[FiniteFloat, Field(gt=0, lt=1)]
"""A fraction, neither 0 nor 1."""
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""A number of rows, frames or pixels."""
OptionalCount = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A number of rows; 0 disables the feature."""
ClusterCount = Annotated[int, Field(ge=2, le=MAX_COUNT)]
"""A number of clusters, prototypes or classes."""


def check_options(where: str, options: Mapping[str, Any], task: Callable[..., object]) -> None:
    """Refuse options that the task does not have or whose values its annotations do not allow.

    Args:
        where: location for the error messages, such as "tasks.moco.options".
        options: the options in the space.
        task: the task's class. An option whose annotation pydantic does not know is not checked.

    Raises:
        UserError: names the option, what it requires and what was given.
    """
    parameters = _parameters(task)
    for name, value in options.items():
        if name not in parameters:
            raise UserError(f"{where}: {unknown('option', name, parameters)}")
        if problem := _find_problem(f"{where}.{name}", value, parameters[name].annotation):
            raise UserError(problem)


def read_option_genes(
    where: str, options: Mapping[str, Any], task: Callable[..., object]
) -> dict[str, Gene]:
    """Return the genes that the options of a task declare, by their full keys.

    A pair of numbers is a range only if the option's annotation says that it is one number.

    Args:
        where: location, such as "tasks.moco.options".
        options: the options in the space, not checked yet.
        task: the task's class.

    Raises:
        UserError: a range or choices that the option does not allow; names it and the remedy.
    """
    parameters, genes = _parameters(task), dict[str, Gene]()
    for name, value in options.items():
        parameter = parameters.get(name)
        if parameter is None or not declares_gene(value, parameter.annotation):
            continue
        key, annotation = f"{where}.{name}", parameter.annotation
        find_problem = partial(_find_problem, annotation=annotation)
        try:
            genes[key] = read_gene(key, value, annotation, parameter.default, find_problem)
        except ValueError as error:
            raise UserError(str(error)) from None
    return genes


def _parameters(task: Callable[..., object]) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(task).parameters)
    found.pop("place", None)
    return found


def _find_problem(name: str, value: object, annotation: Any) -> str | None:
    """The error message, or None. Validation is strict JSON: lists for tuples, no bool as int."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return None
    try:
        TypeAdapter(annotation).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        return explain(error, BaseModel, name)[0]
    except PydanticUserError:
        return None
    return None
