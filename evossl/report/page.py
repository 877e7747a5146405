"""Renders the page: all of a run folder's results in one HTML file that needs no network."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evossl.genes import GeneValue
from evossl.io.files import write_text
from evossl.report import sentences, tables
from evossl.report.cluster_chart import cluster_chart, divergence
from evossl.report.conflict_map import conflict_map, mean_conflicts
from evossl.report.contact_sheets import contact_sheets
from evossl.report.contents import RunContents, read_contents
from evossl.report.evaluation_chart import comparisons, evaluation_chart
from evossl.report.fitness_chart import fitness_chart
from evossl.report.loss_curves import loss_charts
from evossl.report.trial_ranking import running_best
from evossl.report.weight_bars import weight_bars, weights_in_use
from evossl.report.weight_map import colour_key, weight_map
from evossl.types import Progress

HERE = Path(__file__).parent


def write_report(run: Path, progress: Progress | None = None) -> Path:
    """Write `report.html` into a run folder, from what the folder contains at this moment.

    Args:
        run: the run folder; its search may still be running.
        progress: called with (clips of the contact sheets done, number of clips).

    Returns:
        The path of the file.

    Raises:
        UserError: it is not a run folder.
        RunError: the disk is full.
    """
    path = run / "report.html"
    write_text(path, render(read_contents(run), progress))
    return path


def render(run: RunContents, progress: Progress | None = None) -> str:
    """Return the page of a run as HTML."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("template.html.j2").render(
        run=run,
        info=run.info,
        space=run.space,
        sentences=sentences,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        **_headline(run),
        **_charts(run),
        sheets=contact_sheets(run, progress),
        table=tables.trial_table(run.rows, run.best),
        failures=tables.failures(run.rows, run.videos.quarantined),
    )


def _headline(run: RunContents) -> dict[str, Any]:
    ended = [row for row in run.trials if row.status != "running"]
    seconds = sum(row.seconds for row in run.rows if row.seconds is not None)
    best = running_best(run.trials)
    return {
        "num_ended": len(ended),
        "num_failed": sum(row.status == "failed" for row in ended),
        "num_at_chance": sum(row.status == "at_chance" for row in ended),
        "num_stopped_early": sum(row.status == "pruned" for row in ended),
        "num_running": len(run.trials) - len(ended),
        "seconds": seconds + (run.winner.seconds if run.winner else 0.0),
        "best_so_far": best[-1][1] if best else None,
        "outcome": run.verdict.outcome if run.verdict else None,
    }


def _charts(run: RunContents) -> dict[str, Any]:
    clusters = run.training.clusters if run.training else None
    history = run.training.history if run.training else []
    conflicts = mean_conflicts(history)
    compared = comparisons(run.scores) if run.scores else []
    return {
        "evaluation_chart": evaluation_chart(compared) if compared else None,
        "fitness_chart": fitness_chart(run.trials, run.controls),
        "weights": _weights(run),
        "weight_map": weight_map(run.trials),
        "colour_key": colour_key(),
        "cluster_chart": cluster_chart(clusters) if clusters else None,
        "divergence": divergence(clusters) if clusters else None,
        "losses": loss_charts(history),
        "conflicts": conflicts,
        "conflict_map": conflict_map(conflicts) if conflicts else None,
        "is_single_term": bool(history) and len(history[-1].loss) == 1,
    }


def _weights(run: RunContents) -> dict[str, Any] | None:
    """The loss weights and genes of the winner or, before there is one, of the best trial."""
    title: str
    trial: int | None
    proposed: Mapping[str, float]
    genes: Mapping[str, GeneValue]
    if run.winner:
        title, trial, proposed = "the winner", None, run.winner.weights
        genes = run.winner.genes
    elif run.best:
        trial, proposed, genes = run.best.trial, run.best.weights, run.best.genes
        title = f"trial {trial} (the best so far)"
    else:
        return None
    if not proposed or run.space is None:
        return None
    trained: set[str] | None = None
    if run.training and run.training.history and run.training.trial == trial:
        trained = set(run.training.history[-1].loss)
    training = run.space.training
    rescale = training.normalize == "gradient"
    prune_below = float(genes.get("training.prune_below", training.prune_below))
    used = weights_in_use(proposed, prune_below, rescale, trained)
    return {
        "prune_below": prune_below,
        "genes": [(name, tables.format_gene(value)) for name, value in genes.items()],
        "chart": weight_bars(proposed, used),
        "title": title,
        "num_on": sum(value > 0 for value in used.values()),
        "num_off": sum(value == 0 for value in used.values()),
        "largest": max(used, key=lambda term: used[term]),
    }
