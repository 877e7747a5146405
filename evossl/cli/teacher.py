"""The option `--teacher`: the encoder that knowledge distillation learns from."""

from pathlib import Path

import click

from evossl.cli.export import find_encoder
from evossl.cli.options import PATH
from evossl.config import SearchSpace, TaskChoice
from evossl.errors import UserError
from evossl.task_loader import load_catalogue

teacher_option = click.option(
    "--teacher",
    type=PATH,
    metavar="ENCODER",
    help="Encoder folder, or run, that knowledge_distillation learns from.",
)


def with_teacher(space: SearchSpace, tasks_folder: Path | None, given: Path | None) -> SearchSpace:
    """Return the space with the teachers of its tasks as absolute paths of encoder folders.

    Args:
        space: the search space.
        tasks_folder: folder of the user's own tasks, or None.
        given: value of `--teacher`, for every task that needs a teacher; None keeps those that the
            space names.

    Raises:
        UserError: a teacher is no encoder, or `given` but no task needs a teacher.
    """
    catalogue = load_catalogue(tasks_folder)
    students = [
        name
        for name, choice in space.tasks.items()
        if (file := choice.task or name) in catalogue and catalogue[file].needs_teacher
    ]
    if given is not None and not students:
        raise UserError(
            "--teacher: no task of the space needs a teacher; add knowledge_distillation to its "
            "tasks, or leave --teacher out"
        )
    choices = {name: _with_teacher(name, space.tasks[name], given) for name in students}
    return space.model_copy(update={"tasks": {**space.tasks, **choices}})


def _with_teacher(name: str, choice: TaskChoice, given: Path | None) -> TaskChoice:
    source = given or choice.teacher
    if source is None:  # `check_space` reports the missing teacher
        return choice
    try:
        folder = find_encoder(Path(source)).resolve()
    except UserError as error:
        where = "--teacher" if given else f"tasks.{name}.teacher:"
        raise UserError(f"{where} {error}") from error
    return choice.model_copy(update={"teacher": str(folder)})
