"""The verb `demo`: a whole search on synthetic videos."""

from pathlib import Path

import click

from evossl.cli.evaluate import EvaluateOptions, evaluate_encoder, print_scores
from evossl.cli.inspect import write_report_with_progress
from evossl.cli.options import PATH, num_cores, read_space, seed_option
from evossl.cli.progress import print_message, progress_bar
from evossl.cli.run import run_info
from evossl.cli.search import SearchOptions, search_videos
from evossl.data.synth.dataset import synthesise
from evossl.errors import UserError
from evossl.io.files import write_json

NUM_VIDEOS = 1200  # 300 for selection, 300 for the verdict
NUM_CLASSES = 8
SPACE = "demo"
NEXT_STEPS = """Next, with your own videos:
  evossl search --data VIDEOS --space elo --ignores colour,crop,time --out RUN
  evossl evaluate {out}/run/winner/encoder --data LABELLED
  python -c "import evossl; encoder = evossl.load_encoder('{out}/run/winner/encoder')"
"""


@click.command()
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=PATH,
    metavar="DIR",
    help="A new folder; everything is written there.",
)
@seed_option
def demo(out: Path, seed: int) -> None:
    """Run a whole search on synthetic videos, in minutes.

    Writes videos, evolves loss weights, trains and exports the winner, evaluates it on labels, and
    writes a report.

    Example: evossl demo --out demo
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty; remove it, or give another folder")
    with progress_bar("writing synthetic videos") as progress:
        labels = synthesise(out / "videos", NUM_VIDEOS, NUM_CLASSES, seed, progress)
    options = SearchOptions(
        data=str(out / "videos"),
        space=SPACE,
        seed=seed,
        cache=out / "cache",
        out=out / "run",
        workers=num_cores(),
    )
    space = read_space(options.space, None, {})
    outcome = search_videos(run_info(space, options), options)
    [encoder] = outcome.encoders
    scores = evaluate_encoder(
        EvaluateOptions(
            encoder=encoder,
            data=str(labels),
            cache=options.cache,
            protocols="knn,linear",
            workers=options.workers,
        )
    )
    write_json(options.out / "winner" / "evaluation.json", scores)
    print_scores(scores)
    report = write_report_with_progress(options.out)
    print_message(f"report:  {report}\nencoder: {encoder}\n")
    print_message(NEXT_STEPS.format(out=out))
