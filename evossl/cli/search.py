"""The verb search: from a folder of videos to the encoder that the evolved loss found."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evossl.cli.checks import (
    check_out_folder,
    check_resources,
    check_source,
    check_space,
    finds_run,
)
from evossl.cli.data import prepare_videos
from evossl.cli.encoder import DEFAULT_FOLDS, evaluate_folder, print_scores
from evossl.cli.labelled import SplitConfig, check_labelled
from evossl.cli.options import (
    data_options,
    device_option,
    json_option,
    meaning,
    resolve_space,
    resume_command,
    run_info,
    seed_option,
    space_options,
)
from evossl.cli.progress import bar, say
from evossl.cli.teacher import teacher_option, with_teacher
from evossl.config import SearchSpace
from evossl.data.index.index import Index
from evossl.experiment.context import pick_device
from evossl.experiment.run_folder import RunInfo, check_same_run, open_run, removed_if_refused
from evossl.io.files import write_json

if TYPE_CHECKING:
    from evossl.cluster.search import SearchOutcome


@click.command()
@data_options
@space_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@click.option("--trials", type=click.IntRange(1), help="Trials (default: the space's budget).")
@click.option("--steps", type=click.IntRange(1), help="Steps of a trial.")
@click.option("--final-steps", type=click.IntRange(1), help="Steps of the winner's training.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Winners to train and export.",
)
@click.option(
    "--repeats",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Re-runs of the best, other seeds.",
)
@click.option("--max-concurrent", type=click.IntRange(1), help="Trials at the same time.")
@teacher_option
@click.option("--address", help="A Ray cluster (auto, host:port); default: a local Ray.")
@device_option
@click.option("--evaluate", "labelled", metavar="LABELLED", help="Score the winner on labels too.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@seed_option
@json_option
def search(
    data: str,
    cache: Path | None,
    workers: int,
    space: str,
    ignores: str | None,
    tasks_folder: Path | None,
    out: Path,
    trials: int | None,
    steps: int | None,
    final_steps: int | None,
    top: int,
    repeats: int,
    max_concurrent: int | None,
    teacher: Path | None,
    address: str | None,
    device: str | None,
    labelled: str | None,
    resume: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Evolve the loss weights on your videos; train, export and report the winner.

    Example: evossl search --data DIR --space elo --ignores crop,time --out run
    """
    budget = {"trials": trials, "steps": steps, "final_steps": final_steps}
    chosen = with_teacher(resolve_space(space, ignores, budget), tasks_folder, teacher)
    if max_concurrent:
        resources = chosen.resources.model_copy(update={"max_concurrent": max_concurrent})
        chosen = chosen.model_copy(update={"resources": resources})
    check_out_folder(out)
    info = run_info(chosen, data, seed, cache, tasks_folder, device)
    resume = resume and finds_run(out)
    if resume:
        check_same_run(out, info)
    if not address:
        check_resources(chosen.resources, space)
    check_space(chosen, tasks_folder, space, None if address else pick_device(device))
    if labelled:
        check_labelled(labelled, SplitConfig(DEFAULT_FOLDS, None, 0))
    outcome = search_and_report(
        info, out, top=top, repeats=repeats, address=address, workers=workers, resume=resume
    )
    scores = None
    if labelled:
        scores = evaluate_folder(str(outcome.encoders[0]), labelled, cache, workers=workers)
        write_json(out / "winner" / "evaluation.json", scores)
    _print_found(outcome, scores, write_the_report(out), as_json)


def _print_found(
    outcome: "SearchOutcome", scores: dict[str, Any] | None, report: Path, as_json: bool
) -> None:
    """The search's result on stdout."""
    if as_json:
        found = {
            "encoder": str(outcome.encoders[0]),
            "verdict": asdict(outcome.verdict) | {"line": outcome.verdict.line},
            "evaluation": scores,
            "report": str(report),
        }
        click.echo(json.dumps(found))
        return
    if scores:
        print_scores(scores)
    for encoder in outcome.encoders:
        click.echo(f"encoder: {encoder}")
    click.echo(f"report:  {report}")


def search_and_report(
    info: RunInfo,
    out: Path,
    *,
    top: int = 1,
    repeats: int = 0,
    address: str | None = None,
    workers: int = 2,
    resume: bool = False,
) -> "SearchOutcome":
    """Claim the folder, index, cache, search; return the winner's folder and the verdict."""
    from evossl.cluster.search import SearchPlan, run_search
    from evossl.cluster.session import ray_session

    chosen = info.parsed_space()
    say(f"ignores {', '.join(chosen.ignores)}: {meaning(chosen.ignores)}")
    if not resume:
        check_source(info.data)
    info = open_run(out, info, resume)
    try:
        with removed_if_refused(out, resume):
            index = prepare_videos(
                info.data,
                out / "manifest.parquet",
                Path(info.cache),
                chosen,
                workers,
                begun=bool(info.scales),
            )
            say_if_few(index, chosen)
            plan = SearchPlan(
                chosen.budget.trials, chosen.budget.steps, chosen.budget.final_steps, top, repeats
            )
            if not address:
                say("starting a local Ray")
            with ray_session(address) as session:
                if session.dashboard:
                    say(f"Ray dashboard: {session.dashboard}")
                elif session.is_local:
                    say("Ray's dashboard did not start; the search goes on without it")
                outcome = run_search(out, info, plan, session, bar=bar, say=say)
    except KeyboardInterrupt:
        say(f"\nstopped; nothing finished is lost. Go on with:\n  {resume_command()}")
        raise
    if outcome.verdict.warning:
        say(f"WARNING: {outcome.verdict.warning}", style="bold red")
    return outcome


def say_if_few(index: Index, space: SearchSpace) -> None:
    """Say so where the fitness has too few held-out clips to tell trained encoders apart."""
    from evossl.experiment.split import split_videos
    from evossl.fitness.score import ENOUGH_CLIPS

    held_out = len(split_videos(index.videos, space.fitness.clips).scored)
    if held_out < ENOUGH_CLIPS:
        say(
            f"{held_out} clips are held out for the fitness, which ranks encoders well from about "
            f"{ENOUGH_CLIPS}: with more videos (a third is held out) the search would choose better"
        )


def write_the_report(out: Path) -> Path:
    """Write `report.html`, with a bar: its contact sheets may have to be decoded."""
    from evossl.report import write_report

    with bar("writing the report") as advance:
        return write_report(out, advance)
