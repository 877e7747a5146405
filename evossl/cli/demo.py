"""The verb demo: the whole way on synthetic videos."""

from pathlib import Path

import click

from evossl.cli.encoder import evaluate_folder, print_scores
from evossl.cli.options import num_cores, run_info
from evossl.cli.progress import bar, say
from evossl.cli.search import search_and_report, write_the_report
from evossl.data.synth.dataset import synthesise
from evossl.errors import UserError
from evossl.io.files import write_json
from evossl.io.spaces import load_space

NUM_VIDEOS = 1200  # 400 held out: fewer do not rank encoders
NUM_CLASSES = 8
BUDGET = {"steps": 100, "final_steps": 150}  # less than the space's own: minutes
NEXT = """Next, with videos of your own:
  evossl search --data VIDEOS --space elo --ignores colour,crop,time --out RUN
  evossl evaluate {out}/run/winner/encoder --data LABELLED
  python -c "import evossl; encoder = evossl.load_encoder('{out}/run/winner/encoder')"
"""


@click.command()
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="A new folder.",
)
def demo(out: Path) -> None:
    """Synthetic videos, a search, the winner, its encoder, its numbers, the report: in minutes.

    Example: evossl demo --out demo
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: holds something; remove it or give another folder")
    space = load_space("tiny")
    space = space.model_copy(update={"budget": space.budget.model_copy(update=BUDGET)})
    with bar("writing synthetic videos") as advance:
        labels = synthesise(out / "videos", NUM_VIDEOS, NUM_CLASSES, 0, advance)
    info = run_info(space, str(out / "videos"), 0, out / "cache", None, None)
    run = out / "run"
    cores = num_cores()
    outcome = search_and_report(info, run, workers=cores)
    scores = evaluate_folder(
        str(outcome.encoders[0]), str(labels), out / "cache", protocols="knn,linear", workers=cores
    )
    write_json(run / "winner" / "evaluation.json", scores)
    print_scores(scores)
    report = write_the_report(run)
    say(f"report:  {report}\nencoder: {outcome.encoders[0]}\n")
    say(NEXT.format(out=out))
