"""Options of tasks: types that say which values there are, held against a space by name.

A task's `__init__` takes its options with such types; nothing else need be said of a plain range.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, PydanticUserError, TypeAdapter, ValidationError

from evossl.config import UnitInterval as Share
from evossl.errors import UserError, unknown
from evossl.io.validation import explain

MOST = 1 << 20  # rows, clusters: four times the most that is published; more would fill a memory

Positive = Annotated[FiniteFloat, Field(gt=0)]
"""A temperature, a margin."""
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
"""The weight of a part of a loss: 0 leaves it out."""
Part = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither nothing nor all."""
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrNone = Annotated[int, Field(ge=0, le=MOST)]
"""0 is none."""
Classes = Annotated[int, Field(ge=2, le=MOST)]
"""Clusters, prototypes: one alone tells nothing apart."""


def check_options(where: str, options: Mapping[str, Any], task: Callable[..., object]) -> None:
    """Refuse an option that the task does not have, of another type, or outside its range.

    Args:
        where: for the messages: "tasks.moco.options".
        options: as the space has them.
        task: its class; an option whose type pydantic does not know is the task's own affair.

    Raises:
        UserError: names the option, what it needs and what it got.
    """
    wanted = {n: p.annotation for n, p in inspect.signature(task).parameters.items()}
    wanted.pop("place", None)
    for name, value in options.items():
        if name not in wanted:
            raise UserError(f"{where}: {unknown('option', name, wanted)}")
        if fault := _fault(f"{where}.{name}", value, wanted[name]):
            raise UserError(fault)


def _fault(name: str, value: object, annotation: Any) -> str | None:
    """Strict, as JSON: YAML has lists for tuples, and `true` is no number."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return None
    try:
        TypeAdapter(annotation).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        return explain(error, BaseModel, name)[0]
    except PydanticUserError:
        return None
    return None
