"""Options that several verbs share, and how words on the command line become values."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from evossl.config import Ignore, SearchSpace
from evossl.data.cache.clip_cache import default_cache_folder
from evossl.errors import UserError, unknown
from evossl.experiment.run_folder import RunInfo
from evossl.io.spaces import load_space

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
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
        workers_option("Processes that decode."),
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
            help="A folder, a glob, a manifest or a single video, here or at an fsspec URL.",
        ),
    ):
        command = option(command)
    return command


def seed_option(command: Command) -> Command:
    """`--seed`."""
    option = click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Of everything random.",
    )
    return option(command)


def num_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_option(what: str) -> Callable[[Command], Command]:
    """`--workers`, whose help says what they do."""
    return click.option(
        "--workers",
        type=click.IntRange(1),
        default=num_cores,
        show_default="all cores",
        help=what,
    )


def device_option(command: Command) -> Command:
    """`--device`."""
    return click.option(
        "--device", callback=_device, help="cpu, cuda; default: a GPU where there is one."
    )(command)


def _device(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None or DEVICE.fullmatch(value):
        return value
    raise click.BadParameter(unknown("device", value, ("cpu", "cuda", "cuda:0")))


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
        overrides["ignores"] = ignored_words(ignores)
    space = load_space(source, overrides)
    given = {key: value for key, value in (budget or {}).items() if value is not None}
    return space.model_copy(update={"budget": space.budget.model_copy(update=given)})


def ignored_words(text: str) -> list[str]:
    """Return the words of `--ignores`.

    Raises:
        UserError: an unknown word, or none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = get_args(Ignore)
    for word in words:
        if word not in known:
            raise UserError(f"--ignores: {unknown('word', word, known)}")
    if not words:
        raise UserError(f"--ignores: names nothing; at least one of {', '.join(known)}")
    return words


def meaning(ignores: Sequence[str]) -> str:
    """What a choice asks for, in words."""
    if "colour" in ignores:
        return "encoders are ranked by what happens, whatever it looks like"
    return "encoders are ranked by what things look like, whatever happens"


def run_info(
    space: SearchSpace,
    data: str,
    seed: int,
    cache: Path | None,
    tasks_folder: Path | None,
    device: str | None,
) -> RunInfo:
    """Return what `run.yaml` will say of this command line."""
    return RunInfo(
        space=space.model_dump(mode="json"),
        seed=seed,
        data=data,
        command=typed_command(),
        cache=str((cache or default_cache_folder()).resolve()),
        tasks_folder=str(tasks_folder.resolve()) if tasks_folder else None,
        device=device,
    )


def typed_command() -> str:
    """The command line as it was typed, for `run.yaml` and for the resume line."""
    return shlex.join(["evossl", *sys.argv[1:]])


def resume_command() -> str:
    """What to type to go on."""
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return shlex.join(["evossl", *words, "--resume"])
