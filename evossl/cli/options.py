"""Options that several verbs share, and the dataclasses that hold a verb's options.

A verb with many options receives them as one frozen dataclass, whose fields are named like the
parameters that click passes:

    @click.command()
    @data_options
    @click.option("--steps", type=click.IntRange(1))
    @pass_options(TrainOptions)
    def train(options: TrainOptions) -> None: ...
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from evossl.config import Ignore, SearchSpace
from evossl.errors import UserError, unknown
from evossl.io.spaces import load_space

Command = TypeVar("Command", bound=Callable[..., Any])
Options = TypeVar("Options")

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
PATH = click.Path(path_type=Path)
POSITIVE = click.FloatRange(0, min_open=True)
COUNT = click.IntRange(1)
VIDEOS_HELP = "A folder, a glob, a manifest or one video; a local path or an fsspec URL."


def num_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Values of `data_options`."""

    data: str
    cache: Path | None = None
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class SpaceOptions:
    """Values of `space_options`."""

    space: str
    ignores: str | None = None
    tasks_folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(DataOptions, SpaceOptions):
    """The options that `train` and `search` share: all that `run.yaml` records, and `--resume`."""

    out: Path
    teacher: Path | None = None
    device: str | None = None
    resume: bool = False
    seed: int = 0


def pass_options(
    kind: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Return a decorator that passes click's parameters to a verb as one `kind`."""

    def decorate(verb: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            verb(kind(**values))

        return update_wrapper(command, verb)

    return decorate


def option_group(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return a decorator that adds several options, in the order of `--help`."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def check_device(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the value of `--device`.

    Raises:
        click.BadParameter: the value names no device.
    """
    if value is None or DEVICE.fullmatch(value):
        return value
    raise click.BadParameter(unknown("device", value, ("cpu", "cuda", "cuda:0")))


seed_option = click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of everything random.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object."
)
device_option = click.option(
    "--device",
    metavar="cpu|cuda|cuda:N",
    callback=check_device,
    show_default="a GPU if there is one",
    help="Where to train.",
)
cache_option = click.option(
    "--cache",
    type=PATH,
    metavar="DIR",
    show_default="$EVOSSL_CACHE, or ~/.cache/evossl",
    help="Folder of the clip cache.",
)


def workers_option(help_text: str) -> Callable[[Command], Command]:
    """Return `--workers` with the given help text."""
    return click.option(
        "--workers",
        type=COUNT,
        metavar="N",
        default=num_cores,
        show_default="all cores",
        help=help_text,
    )


data_options = option_group(
    click.option("--data", required=True, metavar="VIDEOS", help=VIDEOS_HELP),
    cache_option,
    workers_option("Number of processes that decode videos."),
)
space_options = option_group(
    click.option(
        "--space",
        required=True,
        metavar="NAME|FILE",
        help="Search space: a name listed by `evossl spaces`, or a YAML file.",
    ),
    click.option(
        "--ignores",
        metavar="WORDS",
        show_default="the space's own",
        help="What the encoder must be invariant to. With colour,crop,time encoders are ranked by "
        "motion, with crop,time by appearance.",
    ),
    click.option(
        "--tasks", "tasks_folder", type=PATH, metavar="DIR", help="Folder of your own tasks."
    ),
)


def read_space(
    source: str, ignores: str | None, budget: dict[str, int | None] | None = None
) -> SearchSpace:
    """Return a search space with the changes that the command line makes.

    Args:
        source: the value of `--space`.
        ignores: the value of `--ignores`, or None.
        budget: keys of `budget`; those that are None are not changed. Steps replace passes.

    Raises:
        UserError: see `load_space` and `parse_ignores`.
    """
    overrides: dict[str, Any] = {}
    if ignores is not None:
        overrides["ignores"] = parse_ignores(ignores)
    space = load_space(source, overrides)
    given: dict[str, int | None] = {
        key: value for key, value in (budget or {}).items() if value is not None
    }
    for steps, passes in (("steps", "passes"), ("final_steps", "final_passes")):
        if steps in given:
            given[passes] = None
    return space.model_copy(update={"budget": space.budget.model_copy(update=given)})


def parse_ignores(text: str) -> list[str]:
    """Return the words of `--ignores`.

    Raises:
        UserError: an unknown word, or no word at all.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = get_args(Ignore)
    for word in words:
        if word not in known:
            raise UserError(f"--ignores: {unknown('word', word, known)}")
    if not words:
        raise UserError(f"--ignores: is empty; give one or more of {', '.join(known)}")
    return words


def describe_ignores(ignores: Sequence[str]) -> str:
    """Return how a choice of `ignores` makes the fitness rank encoders."""
    if "colour" in ignores:
        return "encoders are ranked by motion, whatever a video looks like"
    return "encoders are ranked by appearance, whatever happens in a video"
