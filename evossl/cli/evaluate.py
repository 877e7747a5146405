"""The verbs that compare with labels: `evaluate` and `audit`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from evossl.cli.data import make_index
from evossl.cli.export import find_encoder
from evossl.cli.labelled import (
    DEFAULT_FOLDS,
    LabelledOptions,
    SplitConfig,
    folds_option,
    label_option,
    labelled_data_option,
    open_labelled,
)
from evossl.cli.options import (
    PATH,
    cache_option,
    json_option,
    pass_options,
    seed_option,
    workers_option,
)
from evossl.cli.progress import print_table, progress_bar
from evossl.errors import UserError

DEFAULT_PROTOCOLS = "knn,linear,retrieval,kmeans"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(LabelledOptions):
    """Options of `evossl evaluate`."""

    encoder: Path
    protocols: str = DEFAULT_PROTOCOLS
    folds: int = DEFAULT_FOLDS
    split: str | None = None
    as_json: bool = False


@click.command()
@click.argument("encoder", type=PATH)
@labelled_data_option
@click.option(
    "--protocols",
    metavar="WORDS",
    default=DEFAULT_PROTOCOLS,
    show_default=True,
    help="What to measure; `finetune`, which takes longest, can be added.",
)
@folds_option
@click.option(
    "--split",
    metavar="FILE",
    help="Table (.csv, .parquet) with columns path and fold or split, instead of --folds.",
)
@label_option
@cache_option
@workers_option("Number of processes that probe videos.")
@seed_option
@json_option
@pass_options(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Score an encoder on labelled videos, beside random init.

    ENCODER is an encoder folder, or the folder of a search or a training.

    Example: evossl evaluate run/winner/encoder --data labelled --folds 3
    """
    scores = evaluate_encoder(options)
    if options.as_json:
        click.echo(json.dumps(scores))
    else:
        print_scores(scores)


def evaluate_encoder(options: EvaluateOptions) -> dict[str, Any]:
    """Return the scores of an encoder on labelled videos; see `evaluation.evaluate`.

    Raises:
        UserError: no encoder, no such label column, a class with fewer groups than folds, ...
    """
    from evossl.evaluation.evaluate import EvaluationSettings, parse_protocols
    from evossl.evaluation.evaluate import evaluate as score
    from evossl.experiment.context import pick_device
    from evossl.export.encoder_folder import load_encoder

    settings = EvaluationSettings(parse_protocols(options.protocols), options.seed)
    encoder = load_encoder(find_encoder(options.encoder)).to(pick_device(None))
    split = SplitConfig(options.folds, options.split, options.seed)
    opened = open_labelled(options, encoder.config, split)
    videos, folds = split.split(opened.paths, opened.labels, opened.groups)
    with progress_bar("evaluating") as progress:
        return score(encoder, opened.clips, videos, folds, settings, progress)


def print_scores(scores: dict[str, Any]) -> None:
    """Print a table on stdout: one row per metric, the encoder next to random init."""
    table = Table(title=f"{scores['n_videos']} videos, classes: {', '.join(scores['classes'])}")
    for column in ("protocol", "metric", "encoder", "random init", "difference"):
        table.add_column(column)
    for protocol, metrics in scores["encoder"].items():
        for metric in (name for name in metrics if not name.endswith("_interval")):
            cells = (
                _cell(scores[column][protocol], metric)
                for column in ("encoder", "random_init", "difference")
            )
            table.add_row(protocol, metric, *cells)
    print_table(table)


def _cell(metrics: dict[str, Any], metric: str) -> str:
    low, high = metrics[f"{metric}_interval"]
    return f"{metrics[metric]:.3f} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class AuditOptions(LabelledOptions):
    """Options of `evossl audit`."""

    run: Path
    folds: int
    as_json: bool


@click.command()
@click.argument("run", type=PATH)
@labelled_data_option
@folds_option
@label_option
@workers_option("Number of processes that probe videos.")
@seed_option
@json_option
@pass_options(AuditOptions)
def audit(options: AuditOptions) -> None:
    """Measure how far label-free scores agree with labels.

    Every label-free score of the search in RUN is correlated, over its trials, with the accuracy on
    labels. The labelled videos must include some of the run's own held-out videos.

    Example: evossl audit run --data labels.parquet
    """
    from evossl.evaluation.audit import audit_run, complete_trials

    run = options.run
    if not (run / "trials.parquet").is_file():
        raise UserError(f"{run}: is not the folder of a search (it has no trials.parquet)")
    complete_trials(run)  # fails before hours of indexing, not after
    found = make_index(options.data, None, options.workers)
    labels = dict(zip((v.path for v in found.videos), found.labels(options.label), strict=True))
    groups = {video.path: video.group for video in found.videos}
    with progress_bar("auditing the trials") as progress:
        rows = audit_run(
            run, labels, groups, num_folds=options.folds, seed=options.seed, progress=progress
        )
    if options.as_json:
        click.echo(json.dumps({"scores": [asdict(row) for row in rows]}))
        return
    table = Table(title=f"Spearman correlation with accuracy over {rows[0].num_trials} trials")
    for column in ("score", "better", "Spearman", "95 %"):
        table.add_column(column)
    for row in rows:
        rho = "-" if row.spearman is None else f"{row.spearman:+.2f}"
        interval = "-" if row.interval is None else "[{:+.2f}, {:+.2f}]".format(*row.interval)
        table.add_row(row.score, row.better, rho, interval)
    print_table(table)
