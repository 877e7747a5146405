"""The catalogue of tasks, loaded by path: one Python file is one task."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from evossl.errors import UserError, unknown
from evossl.io.user_file import load_file
from evossl.task import Task


def catalogue_root() -> Path:
    """Return the folder that holds `tasks/` and `search_spaces/`: in a wheel, or the repository."""
    packaged = Path(__file__).parent / "catalogue"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent


def load_catalogue(extra: Path | None = None) -> Mapping[str, type[Task]]:
    """Return the task classes by name, from the catalogue and a user's own folder.

    A file is loaded once a process: however it is asked for, its class is the same.

    Raises:
        UserError: a file that cannot be loaded or has not exactly one `Task`, a name that is taken,
            no such folder.
    """
    folders = [catalogue_root() / "tasks", *([extra] if extra else [])]
    tasks: dict[str, type[Task]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--tasks {folder}: no such folder")
        for file in sorted(folder.glob("[!_]*.py")):
            if file.stem in tasks:
                raise UserError(f"{file}: the name {file.stem!r} is taken; rename the file")
            tasks[file.stem] = _load_task(file.resolve())
    return tasks


@cache
def _load_task(file: Path) -> type[Task]:
    name = f"evossl_tasks.{file.stem}"
    module = load_file(file, name)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == name
    ]
    if len(own) != 1:
        raise UserError(f"{file}: a task file defines exactly one Task, this one {len(own)}")
    return own[0]


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task class of that name.

    Raises:
        UserError: unknown name; the message has the nearest known one.
    """
    if name not in tasks:
        raise UserError(unknown("task", name, tasks))
    return tasks[name]
