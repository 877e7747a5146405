"""Prints the results of search_comparison.py as Markdown.

    python benchmarks/search_comparison_table.py DIR > table.md

It takes seconds. Accuracies are balanced ones; "mean" is that of kNN and linear probe.
"""

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

PROTOCOLS = ("knn", "linear")
REFERENCE = "CMA-ES"
RIVALS = {
    "equal-weights": "equal weights",
    "simclr.rgb": "SimCLR alone",
    "multimodal_contrast.rgb+flow": "multimodal contrast alone",
    "arrow_of_time.rgb": "arrow of time alone",
}
SEARCHES = {
    "CMA-ES": "CMA-ES",
    "genetic-algorithm": "genetic algorithm",
    "PBT": "population-based training",
    "random-search": "random search",
    "CMA-ES-with-genes": "CMA-ES with genes",
    "CMA-ES-equal-steps": "CMA-ES, equal steps per trial",
}
SINGLE_TASKS = tuple(RIVALS)[1:]

Results = Mapping[int, Mapping[str, Any]]
"""Results by seed and method; methods are the names of the files."""


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean, with a 95 % t interval over seeds if there are two or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def read_results(folder: Path, case: str) -> Results:
    """Return the results of a case by seed and method."""
    found: dict[int, dict[str, Any]] = {}
    for file in sorted(folder.glob(f"{case}-*/*.json")):
        seed = int(file.parent.name.removeprefix(f"{case}-"))
        found.setdefault(seed, {})[file.stem] = json.loads(file.read_text(encoding="utf-8"))
    return found


def accuracy(result: Mapping[str, Any], protocol: str, side: str = "encoder") -> float:
    """Return a balanced accuracy, of the encoder or of random init."""
    if protocol == "mean":
        return statistics.fmean(accuracy(result, each, side) for each in PROTOCOLS)
    return float(result["scores"][side][protocol]["balanced_accuracy"])


def rows_of(results: Results) -> dict[str, dict[int, dict[str, float]]]:
    """Return {row of the table: {seed: {"knn": ..., "linear": ..., "mean": ...}}}."""
    columns = (*PROTOCOLS, "mean")
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for seed, methods in results.items():
        one = next(iter(methods.values()))
        rows.setdefault("random init", {})[seed] = {
            c: accuracy(one, c, "random_init") for c in columns
        }
        for key, name in (RIVALS | SEARCHES).items():
            if key in methods:
                found = {c: accuracy(methods[key], c) for c in columns}
                rows.setdefault(name, {})[seed] = found
        singles = [methods[key] for key in SINGLE_TASKS if key in methods]
        if len(singles) == len(SINGLE_TASKS):
            best = max(singles, key=lambda single: accuracy(single, "mean"))
            found = {c: accuracy(best, c) for c in columns}
            rows.setdefault("best single task, by labels", {})[seed] = found
    return rows


def accuracy_table(results: Results) -> list[str]:
    """Return a line for each method, with its difference to the reference, paired by seed."""
    rows = rows_of(results)
    reference = rows.get(REFERENCE, {})
    lines = [f"| | seeds | kNN | linear | {REFERENCE} minus it, mean |", "|---|---|---|---|---|"]
    for name, by_seed in rows.items():
        pairs = [reference[s]["mean"] - by_seed[s]["mean"] for s in by_seed if s in reference]
        difference = interval(pairs) if pairs and name != REFERENCE else ""
        cells = [interval([found[p] for found in by_seed.values()]) for p in PROTOCOLS]
        lines.append(f"| {name} | {len(by_seed)} | {' | '.join(cells)} | {difference} |")
    return lines


def trial_accuracy(trial: Mapping[str, Any]) -> float:
    """Return the mean balanced accuracy of a trial on the selection clips."""
    return statistics.fmean(trial["accuracy"].values())


def selection_table(results: Results) -> list[str]:
    """Return whether selection or exploration limits each search, measured on its trials."""
    lines = [
        "| search | chosen trial | best trial, by labels | at chance | Spearman | verdicts |",
        "|---|---|---|---|---|---|",
    ]
    for key, name in SEARCHES.items():
        found = [methods[key] for methods in results.values() if key in methods]
        if found:
            lines.append(f"| {name} | {' | '.join(_selection_cells(found))} |")
    return lines


def _selection_cells(searches: Sequence[Mapping[str, Any]]) -> list[str]:
    chosen, best, at_chance, correlations = [], [], [], []
    for search in searches:
        graded = [trial for trial in search["trials"] if trial["accuracy"]]
        complete = [trial for trial in graded if trial["fitness"] is not None]
        at_chance.append(1 - len(complete) / len(graded))
        best.append(max(map(trial_accuracy, graded)))
        if complete:
            chosen.append(trial_accuracy(min(complete, key=lambda trial: trial["fitness"])))
        fitness = [math.inf if t["fitness"] is None else t["fitness"] for t in graded]
        ranks = stats.rankdata(fitness)
        rho = float(stats.spearmanr(ranks, [trial_accuracy(t) for t in graded]).statistic)
        correlations.append(rho)
    better = sum(search["verdict"] == "better" for search in searches)
    return [
        interval(chosen),
        interval(best),
        f"{statistics.fmean(at_chance):.0%}",
        interval(correlations, 2),
        f"{better} of {len(searches)} better",
    ]


def main() -> None:
    """Print the tables of every case that has results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for case in ("motion", "appearance"):
        results = read_results(folder, case)
        if results:
            print(f"## {case.capitalize()} label\n")
            print("\n".join(accuracy_table(results)), end="\n\n")
            print("\n".join(selection_table(results)), end="\n\n")


if __name__ == "__main__":
    main()
