"""The verb `finetune`."""

from dataclasses import dataclass
from pathlib import Path

import click

from evossl.cli.checks import check_out_folder
from evossl.cli.export import find_encoder
from evossl.cli.labelled import LabelledOptions, label_option, labelled_data_option, open_labelled
from evossl.cli.options import (
    COUNT,
    PATH,
    cache_option,
    pass_options,
    seed_option,
    workers_option,
)
from evossl.cli.progress import progress_bar
from evossl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(LabelledOptions):
    """Options of `evossl finetune`."""

    encoder: Path
    out: Path
    epochs: int


@click.command()
@click.argument("encoder", type=PATH)
@labelled_data_option
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder of the classifier.")
@click.option(
    "--epochs",
    type=COUNT,
    metavar="N",
    default=20,
    show_default=True,
    help="Number of passes over the videos.",
)
@label_option
@cache_option
@workers_option("Number of processes that probe videos.")
@seed_option
@pass_options(FinetuneOptions)
def finetune(options: FinetuneOptions) -> None:
    """Fine-tune an encoder into a classifier of your labels.

    ENCODER is an encoder folder, or the folder of a search or a training.

    Example: evossl finetune run/winner/encoder --data labelled --out classifier
    """
    from evossl.evaluation.classifier import save_classifier
    from evossl.evaluation.finetune import FineTuning
    from evossl.evaluation.finetune import finetune as train
    from evossl.evaluation.labels import labelled_videos
    from evossl.experiment.context import pick_device
    from evossl.export.encoder_folder import load_encoder

    out = options.out
    if out.exists():
        raise UserError(f"--out {out}: exists already; give a new folder")
    check_out_folder(out)
    encoder = load_encoder(find_encoder(options.encoder)).to(pick_device(None))
    opened = open_labelled(options, encoder.config)
    videos = labelled_videos(opened.labels, opened.groups)
    settings = FineTuning(epochs=options.epochs)
    with progress_bar("fine-tuning") as progress:
        classifier = train(
            encoder, opened.clips, videos.subset(), settings, seed=options.seed, progress=progress
        )
    save_classifier(classifier.cpu(), out)
    click.echo(f"{out}: a classifier of {', '.join(videos.classes)}")
