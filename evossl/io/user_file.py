"""A user's own Python file (a task, a fitness): loaded by path, errors named by line."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from evossl.errors import USER_CODE_ERRORS, UserError


def load_python_file(file: Path, name: str) -> ModuleType:
    """Return the file, imported as the module `name`.

    Raises:
        UserError: the file cannot be imported; the message names the line and the reason.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    try:
        spec.loader.exec_module(module)
    except USER_CODE_ERRORS as error:
        del sys.modules[name]
        raise UserError(f"{file}: cannot be loaded: {describe_error(error, file)}") from error
    return module


def describe_error(error: BaseException, file: Path) -> str:
    """Return the line of `file` that raised the error, and the error.

    For example "line 3: ModuleNotFoundError: No module named 'nupmy'". For an error without a
    message (an `assert`), the source line takes the message's place.
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        inside = _same_file(error.filename, file)
        where = f"line {error.lineno}" if inside else f"{error.filename}, line {error.lineno}"
        return f"{where}: {kind}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _same_file(f.filename, file)]
    if not frames:
        return f"{kind}: {error}"
    return f"line {frames[-1].lineno}: {kind}: {str(error) or frames[-1].line}"


def _same_file(name: str, file: Path) -> bool:
    return Path(name).resolve() == file.resolve()
