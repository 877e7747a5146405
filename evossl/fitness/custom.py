"""A user's own fitness: `file.py:function`, or `file.py` with a function named `fitness`."""

import re
from collections.abc import Callable
from pathlib import Path

from evossl.errors import MISTAKES, UserError, unknown
from evossl.fitness.features import ScoringFeatures
from evossl.io.user_file import load_file, mistake

FitnessFunction = Callable[[ScoringFeatures], float]


def is_path(name: str) -> bool:
    """Say whether a fitness's name means a file."""
    return ".py" in name or "/" in name


def load_function(name: str) -> FitnessFunction:
    """Return the function that `file.py:function` names.

    Raises:
        UserError: no such file, it cannot be loaded, it has no such function.
    """
    file, function = _parts(name)
    module = load_file(file, f"evossl_fitness.{file.stem}")
    found = {key: value for key, value in vars(module).items() if callable(value)}
    if function not in found:
        raise UserError(f"fitness {file}: {unknown('function', function, found)}")
    chosen: FitnessFunction = found[function]
    return chosen


def call(name: str, features: ScoringFeatures) -> float:
    """Return what the user's function says of the features, not yet checked to be finite.

    Raises:
        UserError: it cannot be loaded, it fails, it does not return a number.
    """
    function = load_function(name)
    try:
        return float(function(features))
    except MISTAKES as error:
        raise UserError(
            f"fitness {name}: failed: {mistake(error, _parts(name)[0])}; it takes ScoringFeatures "
            "and returns a number, lower is better"
        ) from error


def _parts(name: str) -> tuple[Path, str]:
    """The file, and its function."""
    parts = re.fullmatch(r"(?P<file>.+\.py)(:(?P<function>\w+))?", name)
    if parts is None or not Path(parts["file"]).is_file():
        raise UserError(f"fitness {name}: no such file; write file.py:function")
    return Path(parts["file"]), parts["function"] or "fitness"
