"""How many steps early stopping saves, and whether the best trial would have been stopped.

    python benchmarks/early_stopping.py [--trials 24] [--steps 150] --out DIR

It runs a random search over the demo's space on 1,200 synthetic videos, in which every trial is
scored at its rungs and none is stopped. It then replays the rule over these trials, and prints
which would have been stopped, how many steps that saves, the rank of the best remaining trial, and
the rank correlation (Spearman) of the fitness at a rung with the fitness at the end.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import spearmanr

from evossl.cluster.run import TrialsPlan, run_trials
from evossl.cluster.session import ray_session
from evossl.config import Sampler, Stopping
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.synth.dataset import synthesise
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.terms import search_genotype
from evossl.experiment.trial import TrialSpec, rung_indicator
from evossl.io.spaces import load_space
from evossl.search.stopping import is_promoted
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table

NUM_VIDEOS, NUM_CLASSES = 1200, 8
RUNGS = (0.25, 0.5)
NEVER = 1 << 30  # trials before the rule applies
KEEP_FRACTIONS = (0.5, 0.33)
HEAD = "| rungs | keep_fraction | trials stopped | steps saved | best remaining trial |"


@dataclass(frozen=True)
class Replay:
    """The effect that a rule would have had.

    Attributes:
        stopped: fraction of the trials that it stops.
        saved: fraction of the steps that it saves.
        best: rank of the best remaining trial, from 1.
    """

    stopped: float
    saved: float
    best: int


def search(out: Path, num_trials: int, steps: int, seed: int) -> list[TrialRow]:
    """Run the search, or read the table of an earlier call."""
    folder = out / f"run-{seed}"
    if (folder / "trials.parquet").is_file():
        return read_table(folder / "trials.parquet")
    space = load_space("tiny")
    videos = out / f"videos-{seed}"
    if not (videos / "labels.parquet").is_file():
        synthesise(videos, NUM_VIDEOS, NUM_CLASSES, seed)
    index = build_index(str(videos), out / f"manifest-{seed}.parquet")
    ClipCache(out / "cache", space.cache).fill(index.videos)
    manifest = str(out / f"manifest-{seed}.parquet")
    run = RunSpec(
        space.model_dump_json(), manifest, str(out / "cache"), str(folder), seed, device="cpu"
    )
    context = RunContext.open(run)
    run = replace(run, gradient_scales=measure_run(context))
    never = Stopping(rungs=RUNGS, min_trials=NEVER)
    every = max(1, steps // 20)
    template = TrialSpec(0, {}, run, steps, log_every=every, rungs=never.steps(steps, every))
    genotype = search_genotype(context.resolved)
    sampler = Sampler(name="random")
    with (
        Study.create(folder, replace(genotype, single_task_sets=()), sampler, seed) as study,
        ray_session(None, dashboard=False) as session,
    ):
        run_trials(study, TrialsPlan(template, num_trials, stopping=never), session)
        return study.rows()


def fitness_at_rung(row: TrialRow, rung: float) -> float:
    """Return a trial's fitness at a rung; infinite if it had collapsed."""
    return row.indicators.get(rung_indicator(RUNGS.index(rung) + 1), math.inf)


def replay(rows: Sequence[TrialRow], rule: Stopping) -> Replay:
    """Apply the rule to complete trials in order of completion."""
    arrived: dict[float, list[float]] = {}
    stopped: set[int] = set()
    steps = 0.0
    for row in sorted(rows, key=lambda row: row.completed or 0):
        used = 1.0
        for rung in rule.rungs:
            others, own = arrived.setdefault(rung, []), fitness_at_rung(row, rung)
            continues = is_promoted(own, others, rule)
            others.append(own)
            if not continues:
                stopped.add(row.trial)
                used = rung
                break
        steps += used
    ranked = sorted(rows, key=lambda row: row.fitness or 0.0)
    best = next(rank for rank, row in enumerate(ranked, start=1) if row.trial not in stopped)
    return Replay(len(stopped) / len(rows), 1 - steps / len(rows), best)


def main() -> None:
    """Search, replay the rules, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows = search(out, options.trials, options.steps, options.seed)
    rows = [row for row in rows if row.status == "complete"]
    print(f"{len(rows)} complete trials of {options.steps} steps")
    print("| rung | Spearman correlation with the final fitness |\n|---|---|")
    for rung in RUNGS:
        there = [fitness_at_rung(row, rung) for row in rows]
        rho = spearmanr(there, [row.fitness for row in rows]).statistic
        print(f"| {rung:.0%} of the steps | {rho:.2f} |")
    print(f"\n{HEAD}\n|---|---|---|---|---|")
    for rungs in (RUNGS[:1], RUNGS[1:], RUNGS):
        for keep in KEEP_FRACTIONS:
            found = replay(rows, Stopping(rungs=rungs, keep_fraction=keep))
            settings = f"| {', '.join(f'{r:.0%}' for r in rungs)} | {keep:g} "
            print(f"{settings}| {found.stopped:.0%} | {found.saved:.0%} | number {found.best} |")


if __name__ == "__main__":
    main()
