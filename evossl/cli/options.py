"""Options that several verbs share, and how words on the command line become values."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evossl.config import SearchSpace, load_space

Command = TypeVar("Command", bound=Callable[..., Any])


def space_options(command: Command) -> Command:
    """`--space`, `--ignores`, `--tasks`."""
    for option in (
        click.option(
            "--tasks",
            "tasks_folder",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="A folder with tasks of your own.",
        ),
        click.option(
            "--ignores",
            metavar="WORDS",
            help="What the encoder must not tell apart, in place of the space's own choice: "
            "colour,crop,time ranks by motion, crop,time by appearance.",
        ),
        click.option(
            "--space",
            required=True,
            metavar="NAME|FILE",
            help="A search space: a name of `evossl spaces`, or a YAML file.",
        ),
    ):
        command = option(command)
    return command


def data_options(command: Command) -> Command:
    """`--data`, `--cache`, `--workers`."""
    for option in (
        click.option("--workers", default=2, show_default=True, help="Processes that decode."),
        click.option(
            "--cache",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Clip cache (default: $EVOSSL_CACHE, else ~/.cache/evossl).",
        ),
        click.option(
            "--data",
            required=True,
            metavar="VIDEOS",
            help="A folder, a glob, a manifest or an fsspec URL of videos.",
        ),
    ):
        command = option(command)
    return command


def seed_option(command: Command) -> Command:
    """`--seed`."""
    return click.option("--seed", default=0, show_default=True, help="Of everything random.")(
        command
    )


def json_option(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(
        command
    )


def resolve_space(
    source: str, ignores: str | None, budget: dict[str, int | None] | None = None
) -> SearchSpace:
    """Return the space, with what the command line overrides.

    Raises:
        UserError: as `load_space`.
    """
    overrides: dict[str, Any] = {}
    if ignores is not None:
        overrides["ignores"] = [word.strip() for word in ignores.split(",") if word.strip()]
    space = load_space(source, overrides)
    given = {key: value for key, value in (budget or {}).items() if value is not None}
    return space.model_copy(update={"budget": space.budget.model_copy(update=given)})


def typed_command() -> str:
    """The command line as it was typed, for `run.yaml` and for the resume line."""
    return shlex.join(["evossl", *sys.argv[1:]])


def resume_command() -> str:
    """What to type to go on."""
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return shlex.join(["evossl", *words, "--resume"])
