"""How many steps early stopping saves, and whether it would have stopped the best trial.

    python benchmarks/early_stopping.py

It replays the rule over trainings of fitness_study.py that were scored on their way, in 1,000
random orders, and takes seconds. The cost of scoring at a rung is not counted.
"""

import argparse
import csv
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evossl.config import Stopping
from evossl.search.stopping import is_promoted

ROWS = Path(__file__).parent / "results" / "fitness_study.csv"
DATA = "motion-0"  # the set with most trainings
LENGTH = 1000  # steps
RUNGS = ((0.1,), (0.2,), (0.3,), (0.5,), (0.2, 0.5), (0.1, 0.3))
KEEP_FRACTIONS = (0.5, 0.33)
MIN_TRIALS = 4  # the default of 8 would hardly act on so few trainings
NUM_ORDERS = 1000

Trial = Mapping[int, float]
"""The fitness of one training by step; infinite where it is at chance."""


@dataclass(frozen=True)
class Replay:
    """The effect that a rule would have had in one order of the trials.

    Attributes:
        stopped: fraction of the trials that it stops.
        saved: fraction of the steps that it saves.
        rank: of the best trial that it does not stop, from 1.
    """

    stopped: float
    saved: float
    rank: int


def read_trials(path: Path) -> dict[str, Trial]:
    """Return the trainings of the study by the names of their weightings."""
    trials: dict[str, dict[int, float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["data"] == DATA and int(row["step"]) > 0:
                is_scored = row["fitness"] and "chance" not in row["reason"]
                fitness = float(row["fitness"]) if is_scored else math.inf
                trials.setdefault(row["weighting"], {})[int(row["step"])] = fitness
    return {name: trial for name, trial in trials.items() if LENGTH in trial}


def replay(trials: Sequence[Trial], rule: Stopping) -> Replay:
    """Apply the rule to the trials in the given order."""
    arrived: dict[float, list[float]] = {rung: [] for rung in rule.rungs}
    finished: list[Trial] = []
    used = 0.0
    for trial in trials:
        length = _length(trial, rule, arrived)
        used += length
        if length == 1.0:
            finished.append(trial)
    best = min(trial[LENGTH] for trial in finished)
    rank = 1 + sum(trial[LENGTH] < best for trial in trials)
    return Replay(1 - len(finished) / len(trials), 1 - used / len(trials), rank)


def _length(trial: Trial, rule: Stopping, arrived: Mapping[float, list[float]]) -> float:
    """Return the fraction of its steps that a trial may train; records its scores at the rungs."""
    for rung in rule.rungs:
        own, others = trial[round(rung * LENGTH)], arrived[rung]
        is_stopped = not is_promoted(own, others, rule)
        others.append(own)
        if is_stopped:
            return rung
    return 1.0


def main() -> None:
    """Replay the rules, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    trials = list(read_trials(parser.parse_args().rows).values())
    rng = random.Random(0)
    orders = [rng.sample(trials, len(trials)) for _ in range(NUM_ORDERS)]
    print(f"{len(trials)} trainings of {LENGTH:,} steps\n")
    print("| rungs | `keep_fraction` | trials stopped | steps saved | the same winner |")
    print("|---|---|---|---|---|")
    for rungs in RUNGS:
        for keep in KEEP_FRACTIONS:
            rule = Stopping(rungs=rungs, keep_fraction=keep, min_trials=MIN_TRIALS)
            found = [replay(order, rule) for order in orders]
            stopped = statistics.fmean(each.stopped for each in found)
            saved = statistics.fmean(each.saved for each in found)
            same = statistics.fmean(each.rank == 1 for each in found)
            shown = ", ".join(f"{rung:.0%}" for rung in rungs)
            print(f"| {shown} | {keep:g} | {stopped:.0%} | {saved:.0%} | {same:.0%} |")


if __name__ == "__main__":
    main()
