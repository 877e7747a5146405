"""The verb `pilot`: how many steps a trial needs before its fitness ranks recipes."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.table import Table

from evossl.cli.checks import check_resources, check_space
from evossl.cli.options import (
    COUNT,
    PATH,
    RunOptions,
    data_options,
    device_option,
    json_option,
    pass_options,
    read_space,
    seed_option,
    space_options,
)
from evossl.cli.progress import print_message, print_table, progress_bar
from evossl.cli.run import check_run_folder, opened_run, prepare_run_videos, run_info
from evossl.cli.teacher import teacher_option, with_teacher
from evossl.errors import UserError
from evossl.experiment.context import pick_device
from evossl.experiment.run_folder import RunInfo
from evossl.experiment.terms import search_genotype
from evossl.training.resolved_space import ResolvedSpace

if TYPE_CHECKING:
    from evossl.experiment.pilot import PilotResult


@dataclass(frozen=True, kw_only=True)
class PilotOptions(RunOptions):
    """Options of `evossl pilot`."""

    steps: int | None = None
    address: str | None = None
    as_json: bool = False


@click.command()
@data_options
@space_options
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder of the pilot.")
@click.option(
    "--steps",
    type=COUNT,
    metavar="N",
    show_default="a quarter of the space's final_steps",
    help="Training steps of each of its trainings.",
)
@teacher_option
@click.option(
    "--address",
    metavar="ADDRESS",
    show_default="start Ray on this machine",
    help="Ray cluster to use: auto, or host:port.",
)
@device_option
@click.option("--resume", is_flag=True, help="Continue the pilot in --out.")
@seed_option
@json_option
@pass_options(PilotOptions)
def pilot(options: PilotOptions) -> None:
    """Find out how many steps a trial needs on your videos.

    Trains 6 weightings with 2 seeds each, scores them on the way, and says from which step on the
    fitness ranks them reliably. Writes DIR/pilot.json.

    Example: evossl pilot --data DIR --space elo --ignores crop,time --out pilot
    """
    info = _checked_info(options)
    result = _run(info, options)
    if options.as_json:
        click.echo(json.dumps(result.record))
        return
    table = Table(title="Is the ranking of recipes to be trusted?")
    for column in ("steps", "at chance", "p value", "correlation with the last", "trusted"):
        table.add_column(column)
    for rung in result.rungs:
        table.add_row(
            f"{rung.step:,}",
            f"{rung.at_chance:.0%}",
            f"{rung.p_value:.3f}",
            "-" if rung.correlation is None else f"{rung.correlation:+.2f}",
            "yes" if rung.is_trusted else "no",
        )
    print_table(table)
    print_message(f"Next:\n  evossl search ... --steps {result.steps}")


def _checked_info(options: PilotOptions) -> RunInfo:
    """Return what `run.yaml` will record, after every check that needs no video.

    Raises:
        UserError: names the option or key, and the remedy.
    """
    space = read_space(options.space, options.ignores)
    space = with_teacher(space, options.tasks_folder, options.teacher)
    info = run_info(space, options)
    check_run_folder(info, options)
    device = None
    if not options.address:  # a cluster's machines may have more than this one
        check_resources(space.resources, options.space)
        device = pick_device(options.device)
    resolved = check_space(space, options.tasks_folder, options.space, device)
    _check_evolves(resolved, options.space)
    return info


def _check_evolves(resolved: ResolvedSpace, where: str) -> None:
    if not search_genotype(resolved).evolves:
        raise UserError(
            f"{where}: nothing evolves in this space, so there is no ranking to be measured; "
            "give a weight as a pair such as [0, 1]"
        )


def _run(info: RunInfo, options: PilotOptions) -> "PilotResult":
    """Prepare the videos, and run the pilot or what is left of it."""
    from evossl.cluster.pilot import run_pilot
    from evossl.cluster.search_job import Reporter
    from evossl.cluster.session import ray_session

    with opened_run(info, options) as stored:
        prepare_run_videos(stored, options)
        with ray_session(options.address) as session:
            reporter = Reporter(progress_bar, print_message)
            _, result = run_pilot(options.out, stored, session, reporter, options.steps)
    return result
