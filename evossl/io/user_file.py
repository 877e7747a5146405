"""A user's own Python file (a task, a fitness): loaded by path, its mistakes said by line."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from evossl.errors import MISTAKES, UserError


def load_file(file: Path, name: str) -> ModuleType:
    """Return the file as the module `name`.

    Raises:
        UserError: it cannot be loaded; says in which line, and why.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except MISTAKES as error:
        del sys.modules[name]
        raise UserError(f"{file}: cannot be loaded: {mistake(error, file)}") from error
    return module


def mistake(error: BaseException, file: Path) -> str:
    """Return what was raised and by which line of the file.

    For example "line 3: ModuleNotFoundError: No module named 'nupmy'". An error without words of
    its own (an `assert`) is given those of its line.
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        inside = _same(error.filename, file)
        where = f"line {error.lineno}" if inside else f"{error.filename}, line {error.lineno}"
        return f"{where}: {kind}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _same(f.filename, file)]
    if not frames:
        return f"{kind}: {error}"
    return f"line {frames[-1].lineno}: {kind}: {str(error) or frames[-1].line}"


def _same(name: str, file: Path) -> bool:
    return Path(name).resolve() == file.resolve()
