"""The page: everything that a run folder holds, in one HTML file that asks the network nothing."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evossl.io.files import write_text
from evossl.report import tables, words
from evossl.report.clusters import cluster_chart, divergence
from evossl.report.conflicts import conflict_map, conflicts
from evossl.report.evaluation import comparisons, evaluation_chart
from evossl.report.evolution import heat_map, legend
from evossl.report.losses import loss_charts
from evossl.report.read import Run, read
from evossl.report.sheets import contact_sheets
from evossl.report.trials import fitness_chart, running_best
from evossl.report.weights import effective, weight_bars

HERE = Path(__file__).parent


def write_report(run: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `report.html` into a run folder, from what is in it at this moment.

    Args:
        run: its folder; a search may be under way in it.
        progress: called with (clips of the contact sheets done, in all).

    Returns:
        The file's path.

    Raises:
        UserError: not a run folder.
        RunError: the disk is full.
    """
    found = read(run)
    html = render(found, progress)
    path = run / "report.html"
    write_text(path, html)
    return path


def render(run: Run, progress: Callable[[int, int], None] | None = None) -> str:
    """Return the page of a run."""
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
        words=words,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        **_headline(run),
        **_charts(run),
        sheets=contact_sheets(run, progress),
        table=tables.trial_table(run.rows, run.best),
        failures=tables.failures(run.rows, run.set_aside),
    )


def _headline(run: Run) -> dict[str, Any]:
    ended = [row for row in run.trials if row.status != "running"]
    seconds = sum(row.seconds for row in run.rows if row.seconds is not None)
    return {
        "num_ended": len(ended),
        "num_failed": sum(row.status == "failed" for row in ended),
        "num_running": len(run.trials) - len(ended),
        "seconds": seconds + (run.winner.seconds if run.winner else 0.0),
        "best_so_far": running_best(run.trials)[-1][1] if running_best(run.trials) else None,
        "warning": run.winner.verdict.warning if run.winner else None,
    }


def _charts(run: Run) -> dict[str, Any]:
    clusters = run.training.clusters if run.training else None
    history = run.training.history if run.training else []
    pulls = conflicts(history)
    found = comparisons(run.scores) if run.scores else []
    return {
        "comparisons": found,
        "evaluation_chart": evaluation_chart(found) if found else None,
        "fitness_chart": fitness_chart(run.trials, run.controls),
        "weights": _weights(run),
        "heat_map": heat_map(run.trials),
        "legend": legend(),
        "cluster_chart": cluster_chart(clusters) if clusters else None,
        "divergence": divergence(clusters) if clusters else None,
        "losses": loss_charts(history),
        "conflicts": pulls,
        "conflict_map": conflict_map(pulls) if pulls else None,
        "is_alone": bool(history) and len(history[-1].loss) == 1,
    }


def _weights(run: Run) -> dict[str, Any] | None:
    """The winner's bars, or the best trial's before there is a winner."""
    title: str
    trial: int | None
    proposed: Mapping[str, float]
    if run.winner:
        title, trial, proposed = "The winner", None, run.winner.weights
    elif run.best:
        number = run.best.trial
        title, trial, proposed = f"Trial {number}, the best so far,", number, run.best.weights
    else:
        return None
    if not proposed or run.space is None:
        return None
    trained: set[str] | None = None
    if run.training and run.training.history and run.training.trial == trial:
        trained = set(run.training.history[-1].loss)
    training = run.space.training
    used = effective(proposed, training.prune_below, training.normalize == "gradient", trained)
    return {
        "chart": weight_bars(proposed, used),
        "title": title,
        "on": sum(value > 0 for value in used.values()),
        "off": sum(value == 0 for value in used.values()),
        "top": max(used, key=lambda term: used[term]),
    }
