"""The verb `search`: from a folder of videos to the encoder of the best loss weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evossl.cli.checks import check_resources, check_search, check_space
from evossl.cli.evaluate import EvaluateOptions, evaluate_encoder, print_scores
from evossl.cli.inspect import write_report_with_progress
from evossl.cli.labelled import check_labelled
from evossl.cli.options import (
    COUNT,
    PATH,
    RunOptions,
    data_options,
    describe_ignores,
    device_option,
    json_option,
    pass_options,
    read_space,
    seed_option,
    space_options,
)
from evossl.cli.progress import print_message, print_verdict, progress_bar
from evossl.cli.run import check_run_folder, opened_run, prepare_run_videos, run_info
from evossl.cli.teacher import teacher_option, with_teacher
from evossl.config import SearchSpace
from evossl.data.index.index import Index
from evossl.experiment.context import pick_device
from evossl.experiment.run_folder import RunInfo
from evossl.io.files import write_json

if TYPE_CHECKING:
    from evossl.cluster.final_phase import SearchOutcome


@dataclass(frozen=True, kw_only=True)
class SearchOptions(RunOptions):
    """Options of `evossl search`."""

    trials: int | None = None
    steps: int | None = None
    final_steps: int | None = None
    top: int = 1
    reruns: int | None = None
    max_concurrent: int | None = None
    address: str | None = None
    labelled: str | None = None
    as_json: bool = False


@click.command()
@data_options
@space_options
@click.option("--out", required=True, type=PATH, metavar="RUN", help="Folder of the run.")
@click.option(
    "--trials",
    type=COUNT,
    metavar="N",
    show_default="the space's budget",
    help="Number of trials.",
)
@click.option(
    "--steps",
    type=COUNT,
    metavar="N",
    show_default="the space's budget",
    help="Training steps of a trial.",
)
@click.option(
    "--final-steps",
    type=COUNT,
    metavar="N",
    show_default="the space's budget",
    help="Training steps of the winner.",
)
@click.option(
    "--top",
    type=COUNT,
    metavar="N",
    default=1,
    show_default=True,
    help="Number of best trials to train longer and export.",
)
@click.option(
    "--reruns",
    type=click.IntRange(0),
    metavar="N",
    show_default="the space's budget",
    help="How many of the trials repeat the best ones with other seeds.",
)
@click.option(
    "--max-concurrent",
    type=COUNT,
    metavar="N",
    show_default="as many as fit",
    help="Number of trials that run at the same time.",
)
@teacher_option
@click.option(
    "--address",
    metavar="ADDRESS",
    show_default="start Ray on this machine",
    help="Ray cluster to use: auto, or host:port.",
)
@device_option
@click.option(
    "--evaluate", "labelled", metavar="LABELLED", help="Also evaluate the winner on these labels."
)
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@seed_option
@json_option
@pass_options(SearchOptions)
def search(options: SearchOptions) -> None:
    """Evolve the loss weights on your videos; export the winner.

    Writes the winner to RUN/winner/encoder and the report to RUN/report.html.

    Example: evossl search --data DIR --space elo --ignores crop,time --out run
    """
    outcome = search_videos(_checked_run(options), options)
    scores = _evaluate_winner(outcome, options) if options.labelled else None
    report = write_report_with_progress(options.out)
    if options.as_json:
        result = {
            "encoder": str(outcome.encoders[0]),
            "verdict": asdict(outcome.verdict) | {"line": outcome.verdict.line},
            "evaluation": scores,
            "report": str(report),
        }
        click.echo(json.dumps(result))
        return
    if scores:
        print_scores(scores)
    for encoder in outcome.encoders:
        click.echo(f"encoder: {encoder}")
    click.echo(f"report:  {report}")


def _checked_run(options: SearchOptions) -> RunInfo:
    """Return what `run.yaml` will record, after every check that needs no video.

    Raises:
        UserError: names the option or key, and the remedy.
    """
    budget = {key: getattr(options, key) for key in ("trials", "reruns", "steps", "final_steps")}
    space = read_space(options.space, options.ignores, budget)
    space = with_teacher(space, options.tasks_folder, options.teacher)
    if options.max_concurrent:
        changed = {"max_concurrent": options.max_concurrent}
        resources = space.resources.model_copy(update=changed)
        space = space.model_copy(update={"resources": resources})
    info = run_info(space, options)
    check_run_folder(info, options)
    device = None
    if not options.address:  # a cluster's machines may have more than this one
        check_resources(space.resources, options.space)
        device = pick_device(options.device)
    resolved = check_space(space, options.tasks_folder, options.space, device)
    check_search(resolved, options.space)
    if options.labelled:
        check_labelled(options.labelled)
    return info


def _evaluate_winner(outcome: "SearchOutcome", options: SearchOptions) -> dict[str, Any]:
    """Return the winner's scores on labels; writes them to `winner/evaluation.json`."""
    assert options.labelled is not None
    scores = evaluate_encoder(
        EvaluateOptions(
            encoder=outcome.encoders[0],
            data=options.labelled,
            cache=options.cache,
            workers=options.workers,
        )
    )
    write_json(options.out / "winner" / "evaluation.json", scores)
    return scores


def search_videos(info: RunInfo, options: SearchOptions) -> "SearchOutcome":
    """Open the run folder, index and cache its videos, and search; returns what was found.

    Args:
        info: what `run.yaml` will record.
        options: of these, the folder, the Ray cluster, and what is not in `run.yaml` are used.

    Raises:
        UserError, RunError: see `opened_run`, `prepare_videos` and `run_search`.
    """
    from evossl.cluster.search import run_search
    from evossl.cluster.search_job import Reporter, SearchPlan
    from evossl.cluster.session import ray_session
    from evossl.training.resolved_space import resolve_space

    space = info.parsed_space
    print_message(f"ignores {', '.join(space.ignores)}: {describe_ignores(space.ignores)}")
    with opened_run(info, options) as stored:
        warn_if_few_videos(prepare_run_videos(stored, options), space)
        folder = Path(stored.tasks_folder) if stored.tasks_folder else None
        plan = SearchPlan.of(resolve_space(space, folder), options.top)
        if not options.address:
            print_message("starting Ray on this machine")
        with ray_session(options.address) as session:
            if session.dashboard:
                print_message(f"Ray dashboard: {session.dashboard}")
            elif session.is_local:
                print_message("Ray's dashboard did not start; the search continues without it")
            reporter = Reporter(progress_bar, print_message)
            outcome = run_search(options.out, stored, plan, session, reporter)
    print_verdict(outcome.verdict)
    return outcome


def warn_if_few_videos(index: Index, space: SearchSpace) -> None:
    """Say what cannot be known with so few videos: which trial is better, or a verdict at all."""
    from evossl.experiment.split import MIN_VIDEOS_FOR_VERDICT, split_videos
    from evossl.fitness.score import RECOMMENDED_CLIPS

    split = split_videos(index.videos, space.fitness.clips)
    if len(split.selection) < RECOMMENDED_CLIPS:
        print_message(
            f"{len(split.selection)} clips are held out for the fitness, which ranks encoders well "
            f"from about {RECOMMENDED_CLIPS} on. More videos give a better search"
        )
    if not split.verdict:
        print_message(
            f"no clips are kept aside for the verdict, which needs {MIN_VIDEOS_FOR_VERDICT} "
            "videos: whether the exported encoder is better than an untrained one will be unknown"
        )
