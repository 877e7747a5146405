"""Loads the task catalogue by path: one Python file is one task."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from evossl.errors import UserError, unknown
from evossl.io.user_file import load_python_file
from evossl.task import Task


def catalogue_root() -> Path:
    """Return the folder with `tasks/` and `search_spaces/`, in the wheel or in the repository."""
    packaged = Path(__file__).parent / "catalogue"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent


def load_catalogue(extra: Path | None = None) -> Mapping[str, type[Task]]:
    """Return the task classes by name, from the catalogue and from a user's own folder.

    Each file is loaded once per process, so that repeated calls return the same classes.

    Raises:
        UserError: the folder does not exist, a file cannot be loaded or does not define exactly one
            `Task`, or its name is already used.
    """
    folders = [catalogue_root() / "tasks", *([extra] if extra else [])]
    tasks: dict[str, type[Task]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--tasks {folder}: no such folder")
        for file in sorted(folder.glob("[!_]*.py")):
            if file.stem in tasks:
                raise UserError(
                    f"{file}: there is already a task named {file.stem!r}; rename the file"
                )
            tasks[file.stem] = _load_task(file.resolve())
    return tasks


@cache
def _load_task(file: Path) -> type[Task]:
    name = f"evossl_tasks.{file.stem}"
    module = load_python_file(file, name)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == name
    ]
    if len(own) != 1:
        raise UserError(f"{file}: a task file must define exactly one Task, found {len(own)}")
    return own[0]


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task class with this name.

    Raises:
        UserError: the name is unknown; the message suggests the nearest known one.
    """
    if name not in tasks:
        raise UserError(unknown("task", name, tasks))
    return tasks[name]
