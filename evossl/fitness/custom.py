"""A user-defined fitness: `file.py:function`, or `file.py` with a function named `fitness`."""

import re
from collections.abc import Callable
from pathlib import Path

from evossl.errors import USER_CODE_ERRORS, UserError, unknown
from evossl.fitness.features import ScoringFeatures
from evossl.io.user_file import describe_error, load_python_file

FitnessFunction = Callable[[ScoringFeatures], float]


def is_path(name: str) -> bool:
    """Say whether a fitness name refers to a file."""
    return ".py" in name or "/" in name


def load_function(name: str) -> FitnessFunction:
    """Return the function that `file.py:function` names.

    Raises:
        UserError: the file does not exist or cannot be loaded, or it has no such function.
    """
    file, function = _parts(name)
    module = load_python_file(file, f"evossl_fitness.{file.stem}")
    found = {key: value for key, value in vars(module).items() if callable(value)}
    if function not in found:
        raise UserError(f"fitness {file}: {unknown('function', function, found)}")
    chosen: FitnessFunction = found[function]
    return chosen


def evaluate_function(name: str, features: ScoringFeatures) -> float:
    """Return the value of the user's function for the features; it may be infinite or NaN.

    Raises:
        UserError: the function cannot be loaded, raises, or does not return a number.
    """
    function = load_function(name)
    try:
        return float(function(features))
    except USER_CODE_ERRORS as error:
        raise UserError(
            f"fitness {name}: failed: {describe_error(error, _parts(name)[0])}; the function "
            "must take ScoringFeatures and return a number, where lower is better"
        ) from error


def _parts(name: str) -> tuple[Path, str]:
    """Split a name into the file and its function."""
    parts = re.fullmatch(r"(?P<file>.+\.py)(:(?P<function>\w+))?", name)
    if parts is None or not Path(parts["file"]).is_file():
        raise UserError(f"fitness {name}: no such file; the form is file.py:function")
    return Path(parts["file"]), parts["function"] or "fitness"
