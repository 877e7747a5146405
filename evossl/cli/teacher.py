"""The teacher that a task of a space learns from, as the command line or the space names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evossl.cli.encoder import encoder_folder
from evossl.config import SearchSpace, TaskChoice
from evossl.errors import UserError
from evossl.task_loader import load_catalogue

Command = TypeVar("Command", bound=Callable[..., Any])


def teacher_option(command: Command) -> Command:
    """`--teacher`."""
    return click.option(
        "--teacher",
        type=click.Path(path_type=Path),
        metavar="ENCODER",
        help="An exported encoder, or a run: what knowledge_distillation learns from.",
    )(command)


def with_teacher(space: SearchSpace, tasks_folder: Path | None, given: Path | None) -> SearchSpace:
    """Return the space, its tasks' teachers as encoder folders that any process finds.

    Args:
        space: read.
        tasks_folder: a user's own tasks.
        given: of the command line, for every task that has a teacher; None leaves the space's.

    Raises:
        UserError: no encoder there; `given` where no task has a teacher.
    """
    tasks = load_catalogue(tasks_folder)
    pupils = [
        name
        for name, choice in space.tasks.items()
        if (file := choice.task or name) in tasks and tasks[file].needs_teacher
    ]
    if given is not None and not pupils:
        raise UserError(
            "--teacher: no task of the space has one; add knowledge_distillation to its tasks, or "
            "leave --teacher out"
        )
    taught = {name: _taught(name, space.tasks[name], given) for name in pupils}
    return space.model_copy(update={"tasks": {**space.tasks, **taught}})


def _taught(name: str, choice: TaskChoice, given: Path | None) -> TaskChoice:
    source = given or choice.teacher
    if source is None:  # refused with everything else that the space lacks
        return choice
    try:
        folder = encoder_folder(Path(source)).resolve()
    except UserError as error:
        where = "--teacher" if given else f"tasks.{name}.teacher:"
        raise UserError(f"{where} {error}") from error
    return choice.model_copy(update={"teacher": str(folder)})
