"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped.

Each verb is a click command in the module that `VERBS` names, and is imported when it is used.
"""

import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any

import click

from evossl._version import __version__
from evossl.errors import EncoderWarning, RunError, UserError, unknown

VERBS = {
    "demo": ("evossl.cli.demo", "Run a whole search on synthetic videos, in minutes."),
    "synth": ("evossl.cli.data", "Write synthetic videos with known factors into FOLDER."),
    "index": ("evossl.cli.data", "Probe every video, and set the unreadable ones aside."),
    "cache": ("evossl.cli.data", "Decode every video once into the clip cache."),
    "init": ("evossl.cli.init", "Choose `ignores` by what it does to your clips; write a space."),
    "train": ("evossl.cli.train", "Train one encoder with given loss weights."),
    "pilot": ("evossl.cli.pilot", "Find out how many steps a trial needs on your videos."),
    "search": ("evossl.cli.search", "Evolve the loss weights on your videos; export the winner."),
    "export": ("evossl.cli.export", "Export the encoder of a run or of a training."),
    "evaluate": ("evossl.cli.evaluate", "Score an encoder on labelled videos, beside random init."),
    "finetune": ("evossl.cli.finetune", "Fine-tune an encoder into a classifier of your labels."),
    "audit": ("evossl.cli.evaluate", "Measure how far label-free scores agree with labels."),
    "report": ("evossl.cli.inspect", "Write RUN/report.html, the report of a run."),
    "tasks": ("evossl.cli.inspect", "List the tasks and the streams they support."),
    "spaces": ("evossl.cli.inspect", "List the search spaces that ship with evossl."),
    "doctor": ("evossl.cli.inspect", "Check what this machine has: decoders, GPU, disk, memory."),
}  # fmt: skip
"""Verb: the module that defines it, and its summary in `evossl --help`."""


class LazyGroup(click.Group):
    """A group that imports a verb's module only when the verb is used.

    `evossl --help` therefore needs neither torch nor ray, which take seconds to import.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order in which a new user needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command.

        Raises:
            UserError: there is no such verb.
        """
        if cmd_name not in VERBS:
            raise UserError(unknown("verb", cmd_name, VERBS))
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with their summaries, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="evossl")
def cli() -> None:
    """Learn a video encoder without labels, with loss weights found by evolution.

    
    evossl demo                                  try everything on synthetic videos
    evossl search --data VIDEOS --space elo --ignores colour,crop,time --out RUN
    """


def main() -> None:
    """Run the command line and exit; an expected failure prints one message and no traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            sys.exit(cli(standalone_mode=False))
    except UserError as error:
        _exit("error", str(error), 2)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except RunError as error:
        _exit("failed", str(error), 1)
    except OSError as error:  # a full disk or a missing permission: no bug, so no traceback
        _exit("failed", str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        _exit("stopped", "by request", 130)


def _exit(label: str, message: str, code: int) -> None:
    click.echo(f"{click.style(label, fg='red', bold=True)}: {message}", err=True)
    sys.exit(code)


def _show_warning(
    show: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **more: Any,
) -> None:
    """Print our own warnings as one line for users, without the place in the code."""
    if issubclass(category, EncoderWarning):
        click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {message}", err=True)
    else:
        show(message, category, *where, **more)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Make SIGTERM stop a verb exactly as Ctrl-C does."""
    raise KeyboardInterrupt
