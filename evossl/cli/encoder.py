"""The verbs about encoders: export, evaluate, finetune, audit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from evossl.cli.checks import check_out_folder
from evossl.cli.data import make_index
from evossl.cli.labelled import SplitConfig, open_labelled
from evossl.cli.options import json_option, seed_option, workers_option
from evossl.cli.progress import bar, print_table
from evossl.errors import UserError

DEFAULT_FOLDS = 5
DEFAULT_PROTOCOLS = "knn,linear,retrieval,kmeans"
FOLDS = click.option(
    "--folds",
    type=click.IntRange(2),
    default=DEFAULT_FOLDS,
    show_default=True,
    help="Folds of the cross-validation.",
)
SPLIT = click.option("--split", metavar="FILE", help="A table: path, and fold or split.")
LABEL = click.option("--label", default="label", show_default=True, help="The label's column.")
CACHE = click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Clip cache.")
LABELLED = click.option(
    "--data", required=True, metavar="LABELLED", help="Class folders, or a manifest with labels."
)
WORKERS = workers_option("Processes that decode.")


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The encoder's folder.")
@click.option("--onnx", is_flag=True, help="Write model.onnx too (needs evossl[onnx]).")
def export(source: Path, out: Path, onnx: bool) -> None:
    """Export the encoder of a run's winner, or of a trial's folder.

    Example: evossl export run --out encoder --onnx
    """
    from evossl.export.encoder_folder import export_encoder, load_encoder
    from evossl.export.onnx import export_onnx

    check_out_folder(out)
    encoder = load_encoder(encoder_folder(source))
    export_encoder(encoder.encoder, out, encoder.config)
    if onnx:
        export_onnx(encoder, out / "model.onnx")
    click.echo(f"{out}: load it with evossl.load_encoder({str(out)!r})")


def encoder_folder(source: Path) -> Path:
    """Return the encoder in a run, in a training's folder, or the folder itself.

    Raises:
        UserError: no encoder there.
    """
    for folder in (source / "winner" / "encoder", source / "encoder", source):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        f"{source}: no encoder there; a run has one in winner/encoder once its search has ended "
        "(resume it), a training in encoder/"
    )


@click.command()
@click.argument("encoder", type=click.Path(path_type=Path))
@LABELLED
@click.option("--protocols", default=DEFAULT_PROTOCOLS, show_default=True, help="And finetune.")
@FOLDS
@SPLIT
@LABEL
@CACHE
@WORKERS
@seed_option
@json_option
def evaluate(
    encoder: Path,
    data: str,
    protocols: str,
    folds: int,
    split: str | None,
    label: str,
    cache: Path | None,
    workers: int,
    seed: int,
    as_json: bool,
) -> None:
    """Score an encoder on labelled videos, always beside random init.

    Example: evossl evaluate run/winner/encoder --data labelled --folds 3
    """
    scores = evaluate_folder(
        str(encoder_folder(encoder)),
        data,
        cache,
        protocols=protocols,
        num_folds=folds,
        split=split,
        label=label,
        workers=workers,
        seed=seed,
    )
    if as_json:
        click.echo(json.dumps(scores))
    else:
        print_scores(scores)


def evaluate_folder(
    encoder: str,
    data: str,
    cache: Path | None,
    *,
    protocols: str = DEFAULT_PROTOCOLS,
    num_folds: int = DEFAULT_FOLDS,
    split: str | None = None,
    label: str = "label",
    workers: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the numbers of an exported encoder on labelled videos.

    Raises:
        UserError: no such label column, a class with fewer groups than folds, ...
    """
    from evossl.evaluation.evaluate import evaluate as score
    from evossl.evaluation.evaluate import parse_protocols
    from evossl.experiment.context import pick_device
    from evossl.export.encoder_folder import load_encoder

    names = parse_protocols(protocols)
    model = load_encoder(encoder).to(pick_device(None))
    cut = SplitConfig(num_folds, split, seed)
    opened = open_labelled(
        data, model.config, cache, label=label, workers=workers, seed=seed, cut=cut
    )
    rows, parts = cut.of(opened.paths, opened.labels, opened.groups)
    with bar("evaluating") as advance:
        return score(model, opened.clips, rows, parts, protocols=names, seed=seed, progress=advance)


def print_scores(scores: dict[str, Any]) -> None:
    """Print encoder beside random init, a row a metric, with intervals."""
    table = Table(title=f"{scores['n_videos']} videos, classes: {', '.join(scores['classes'])}")
    for column in ("protocol", "metric", "encoder", "random init", "difference"):
        table.add_column(column)
    for protocol, metrics in scores["encoder"].items():
        for metric in (name for name in metrics if not name.endswith("_interval")):
            cells = (
                _cell(scores[side][protocol], metric)
                for side in ("encoder", "random_init", "difference")
            )
            table.add_row(protocol, metric, *cells)
    print_table(table)


def _cell(metrics: dict[str, Any], metric: str) -> str:
    low, high = metrics[f"{metric}_interval"]
    return f"{metrics[metric]:.3f} [{low:.3f}, {high:.3f}]"


@click.command()
@click.argument("encoder", type=click.Path(path_type=Path))
@LABELLED
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Classifier's folder.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Times each video is seen.",
)
@LABEL
@CACHE
@WORKERS
@seed_option
def finetune(
    encoder: Path,
    data: str,
    out: Path,
    epochs: int,
    label: str,
    cache: Path | None,
    workers: int,
    seed: int,
) -> None:
    """Fine-tune an encoder into a classifier of your labels.

    Example: evossl finetune run/winner/encoder --data labelled --out classifier
    """
    from evossl.evaluation.classifier import save_classifier
    from evossl.evaluation.finetune import FineTuning
    from evossl.evaluation.finetune import finetune as train
    from evossl.evaluation.labels import labelled
    from evossl.experiment.context import pick_device
    from evossl.export.encoder_folder import load_encoder

    if out.exists():
        raise UserError(f"--out {out}: is there already; give a new folder")
    check_out_folder(out)
    model = load_encoder(encoder_folder(encoder)).to(pick_device(None))
    opened = open_labelled(
        data, model.config, cache, label=label, workers=workers, seed=seed, cut=None
    )
    rows = labelled(opened.labels, opened.groups)
    options = FineTuning(epochs=epochs)
    with bar("fine-tuning") as advance:
        classifier = train(
            model, opened.clips, rows.videos, rows.class_N, rows.classes, options,
            seed=seed, progress=advance,
        )  # fmt: skip
    save_classifier(classifier.cpu(), out)
    click.echo(f"{out}: a classifier of {', '.join(rows.classes)}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@LABELLED
@FOLDS
@LABEL
@WORKERS
@seed_option
@json_option
def audit(
    run: Path, data: str, folds: int, label: str, workers: int, seed: int, as_json: bool
) -> None:
    """Say how far each label-free score of a run ranks its trials as labels do.

    Needs labels for (some of) the run's own held-out videos.

    Example: evossl audit run --data labels.parquet
    """
    from evossl.evaluation.audit import audit_run, complete_trials

    if not (run / "trials.parquet").is_file():
        raise UserError(f"{run}: no trials.parquet there: not the folder of a search")
    complete_trials(run)  # before hours of indexing
    found = make_index(data, None, workers)
    labels = dict(zip((v.path for v in found.videos), found.labels(label), strict=True))
    groups = {video.path: video.group for video in found.videos}
    with bar("auditing the trials") as advance:
        table = audit_run(run, labels, groups, num_folds=folds, seed=seed, progress=advance)
    if as_json:
        click.echo(json.dumps({"scores": [asdict(row) for row in table]}))
        return
    shown = Table(title=f"Spearman with accuracy over {table[0].num_trials} trials")
    for column in ("score", "better", "Spearman", "95 %"):
        shown.add_column(column)
    for row in table:
        rho = "-" if row.spearman is None else f"{row.spearman:+.2f}"
        interval = "-" if row.interval is None else "[{:+.2f}, {:+.2f}]".format(*row.interval)
        shown.add_row(row.score, row.better, rho, interval)
    print_table(shown)
