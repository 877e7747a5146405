"""The command line: one verb a job; exit 0 done, 1 failed, 2 wrong usage, 130 stopped."""

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
    "demo": ("evossl.cli.demo", "Synthetic videos, search, winner, export, evaluation, report."),
    "synth": ("evossl.cli.data", "Write synthetic videos with known factors."),
    "index": ("evossl.cli.data", "Probe videos, set aside the unreadable ones."),
    "cache": ("evossl.cli.data", "Decode every video once into the clip cache."),
    "init": ("evossl.cli.init", "Make a search space of your own, by what it does to your clips."),
    "train": ("evossl.cli.train", "Train one encoder under given loss weights."),
    "search": ("evossl.cli.search", "Evolve the loss weights, train and export the winner."),
    "export": ("evossl.cli.encoder", "Export an encoder from a run or a checkpoint."),
    "evaluate": ("evossl.cli.encoder", "Score an encoder on labelled videos, beside random init."),
    "finetune": ("evossl.cli.encoder", "Fine-tune an encoder into a classifier."),
    "audit": ("evossl.cli.encoder", "How far does each label-free score agree with labels?"),
    "report": ("evossl.cli.inspect", "Write a run's report as one HTML file."),
    "tasks": ("evossl.cli.inspect", "List the catalogue of tasks."),
    "spaces": ("evossl.cli.inspect", "List the shipped search spaces."),
    "doctor": ("evossl.cli.inspect", "Check this machine: decoders, GPU, disk, memory."),
}
"""Verb: the module that has it, imported when it is called, and its line in `--help`."""


class LazyGroup(click.Group):
    """Imports a verb's module when the verb is used: `--help` needs neither torch nor ray."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order a person meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command."""
        if cmd_name not in VERBS:
            raise UserError(unknown("verb", cmd_name, VERBS))
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="evossl")
def cli() -> None:
    """Evolve the loss of self-supervised video learning, and use the encoder it finds.

    
    evossl demo                                  the whole way on synthetic videos
    evossl search --data VIDEOS --space elo --ignores colour,crop,time --out RUN
    """


def main() -> None:
    """Run the command line; every failure on purpose is one clear message, not a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            sys.exit(cli(standalone_mode=False))
    except UserError as error:
        _say("error", str(error), 2)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except RunError as error:
        _say("failed", str(error), 1)
    except OSError as error:  # a disk, a permission: the system's words, without our frames
        _say("failed", str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        _say("stopped", "by request", 130)


def _say(word: str, message: str, code: int) -> None:
    click.echo(f"{click.style(word, fg='red', bold=True)}: {message}", err=True)
    sys.exit(code)


def _show_warning(
    show: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **more: Any,
) -> None:
    """Our own warnings are for the person who typed the command: without a place in the code."""
    if issubclass(category, EncoderWarning):
        click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {message}", err=True)
    else:
        show(message, category, *where, **more)


def _stop(signum: int, frame: FrameType | None) -> None:
    """SIGTERM stops as Ctrl-C does."""
    raise KeyboardInterrupt
