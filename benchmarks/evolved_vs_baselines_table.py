"""Prints the results of evolved_vs_baselines.py as Markdown, for all cases and seeds in a folder.

    python benchmarks/evolved_vs_baselines_table.py DIR > table.md

It takes seconds.
"""

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

PROTOCOLS = ("knn", "linear")
METRICS = ("balanced_accuracy", "accuracy")
METHODS = ("random init", "SimCLR alone", "equal weights", "random search", "evossl", "supervised")


def interval(values: Sequence[float]) -> str:
    """Return the mean, with a 95 % t interval over seeds if there are two or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3f} ± {half:.3f}"


def value(run: dict[str, Any], row: str, protocol: str, metric: str) -> float:
    """Return one metric of one seed. The supervised network has the same value in all protocols."""
    if row == "supervised":
        return float(run["supervised"][metric])
    if row == "random init":
        values = [init["accuracy"][protocol][metric] for init in run["random init"]]
        return statistics.fmean(values)
    return float(run["finals"][row]["accuracy"][protocol][metric])


def scores_table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table with a row per method and a column per protocol and metric."""
    heads = [
        f"{protocol} {metric.replace('_', ' ')}" for metric in METRICS for protocol in PROTOCOLS
    ]
    lines = [f"| | fitness | {' | '.join(heads)} | seconds |", "|---" * (len(heads) + 3) + "|"]
    for row in METHODS:
        cells = [
            interval([value(run, row, protocol, metric) for run in runs])
            for metric in METRICS
            for protocol in PROTOCOLS
        ]
        lines.append(
            f"| {row} | {fitness(runs, row)} | {' | '.join(cells)} | {seconds(runs, row)} |"
        )
    return lines


def seconds(runs: Sequence[dict[str, Any]], row: str) -> str:
    """Return the mean seconds of a final training and its scoring, on one core."""
    if row in ("random init", "supervised"):
        return "-"
    return f"{statistics.fmean(run['finals'][row]['seconds'] for run in runs):.0f}"


def fitness(runs: Sequence[dict[str, Any]], row: str) -> str:
    """Return the mean fitness of the final trainings or random inits, in nats."""
    if row == "supervised":
        return "-"
    if row == "random init":
        each = [init["fitness"] for run in runs for init in run["random init"]]
    else:
        each = [run["finals"][row]["fitness"] for run in runs]
    known = [one for one in each if one is not None]
    return f"{statistics.fmean(known):.2f}" if known else "-"


def wins(runs: Sequence[dict[str, Any]], over: str) -> str:
    """Return in how many seeds the winner has a higher mean balanced accuracy than a method."""

    def mean(run: dict[str, Any], row: str) -> float:
        return statistics.fmean(value(run, row, p, "balanced_accuracy") for p in PROTOCOLS)

    return f"{sum(mean(run, 'evossl') > mean(run, over) for run in runs)} of {len(runs)}"


def spearman_table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rank correlations of fitness and indicators with accuracy, averaged over seeds."""
    per_name: dict[str, list[float]] = {}
    num_trials = 0
    for run in runs:
        every = run["trials"]["cmaes"] + run["trials"]["random"][1:]  # both searches share trial 0
        trials = [t for t in every if t["fitness"] is not None]
        num_trials += len(trials)
        accuracies = [
            statistics.fmean(t["accuracy"][p]["balanced_accuracy"] for p in PROTOCOLS)
            for t in trials
        ]
        names = ["fitness", *sorted({n for t in trials for n in t["indicators"]})]
        for name in names:
            pairs = [
                (t["fitness"] if name == "fitness" else t["indicators"].get(name), a)
                for t, a in zip(trials, accuracies, strict=True)
            ]
            known = [pair for pair in pairs if pair[0] is not None]
            rho = float(stats.spearmanr(*zip(*known, strict=True)).statistic)
            if math.isfinite(rho):
                per_name.setdefault(name, []).append(rho)
    lines = [
        f"| score ({num_trials} trials in total) | Spearman correlation with accuracy |",
        "|---|---|",
    ]
    return lines + [f"| {name} | {interval(each)} |" for name, each in per_name.items()]


def main() -> None:
    """Print the tables of every case with at least one finished seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for case in ("motion", "appearance"):
        files = sorted(folder.glob(f"{case}-?.json"))
        if not files:
            continue
        runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        print(f"### {case.capitalize()} label, {len(runs)} seed(s)\n")
        print("\n".join(scores_table(runs)))
        against = (
            f"{over}: {wins(runs, over)}"
            for over in METHODS
            if over not in ("evossl", "supervised")
        )
        print(f"\nNumber of seeds in which the winner is better: {'; '.join(against)}.\n")
        print("\n".join(spearman_table(runs)), end="\n\n")


if __name__ == "__main__":
    main()
