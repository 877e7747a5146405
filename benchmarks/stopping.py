"""What cutting trials short saves, and whether it changes which trial wins.

    python benchmarks/stopping.py [--trials 24] [--steps 150] --out DIR

A random search over the demo's space on 1,200 synthetic videos, in which every trial is scored at
its rungs and none is cut. Over the same trials the rule is then replayed: which would have been
cut, how many steps that saves, whether the best would have been; and how far the order of the
trials at a rung is their order at the end (Spearman).
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import spearmanr

from evossl.cluster.run import run_trials
from evossl.cluster.session import ray_session
from evossl.config import Resources, Sampler, Stopping
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.synth.dataset import synthesise
from evossl.experiment.context import RunSpec, measure_run
from evossl.experiment.terms import resolve_terms, search_genotype
from evossl.experiment.trial import TrialSpec, rung_indicator
from evossl.io.spaces import load_space
from evossl.search.genotype import Genotype
from evossl.search.stopping import is_promoted
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from evossl.task_loader import load_catalogue

NUM_VIDEOS, NUM_CLASSES = 1200, 8
RUNGS = (0.25, 0.5)
NOBODY = 1 << 30
KEPT = (0.5, 0.33)
HEAD = "| rungs | keep | trials cut | steps saved | the best that is left |"


@dataclass(frozen=True)
class Replay:
    """What a rule would have come to: shares of trials cut and of steps saved; the best's rank."""

    cut: float
    saved: float
    best: int


def search(out: Path, num_trials: int, steps: int, seed: int) -> list[TrialRow]:
    """Search, or read what an earlier call found."""
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
    run = replace(run, scales=measure_run(run))
    never = Stopping(rungs=RUNGS, min_trials=NOBODY)
    every = max(1, steps // 20)
    template = TrialSpec(0, {}, run, steps, log_every=every, rungs=never.steps(steps, every))
    catalogue = load_catalogue()
    genotype: Genotype = search_genotype(space, resolve_terms(space, catalogue), catalogue)
    sampler = Sampler(name="random")
    with (
        Study.create(folder, replace(genotype, single_task_sets=()), sampler, seed) as study,
        ray_session(None, dashboard=False) as session,
    ):
        run_trials(study, template, num_trials, session, Resources(), stopping=never)
        return study.rows()


def at_rung(row: TrialRow, share: float) -> float:
    """A trial's score at a rung; infinite where it had collapsed."""
    return row.indicators.get(rung_indicator(RUNGS.index(share) + 1), math.inf)


def replay(rows: Sequence[TrialRow], rule: Stopping) -> Replay:
    """Go through complete trials in their order of completion, as if the rule had been on."""
    come: dict[float, list[float]] = {}
    cut: set[int] = set()
    steps = 0.0
    for row in sorted(rows, key=lambda row: row.completed or 0):
        used = 1.0
        for share in rule.rungs:
            others, own = come.setdefault(share, []), at_rung(row, share)
            going = is_promoted(own, others, rule)
            others.append(own)
            if not going:
                cut.add(row.trial)
                used = share
                break
        steps += used
    ranked = sorted(rows, key=lambda row: row.fitness or 0.0)
    best = next(rank for rank, row in enumerate(ranked, start=1) if row.trial not in cut)
    return Replay(len(cut) / len(rows), 1 - steps / len(rows), best)


def main() -> None:
    """Search, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__)
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
    print("| rung | Spearman with the end |\n|---|---|")
    for share in RUNGS:
        there = [at_rung(row, share) for row in rows]
        rho = spearmanr(there, [row.fitness for row in rows]).statistic
        print(f"| {share:.0%} of the steps | {rho:.2f} |")
    print(f"\n{HEAD}\n|---|---|---|---|---|")
    for rungs in (RUNGS[:1], RUNGS[1:], RUNGS):
        for keep in KEPT:
            found = replay(rows, Stopping(rungs=rungs, keep_fraction=keep))
            told = f"| {', '.join(f'{r:.0%}' for r in rungs)} | {keep:g} "
            print(f"{told}| {found.cut:.0%} | {found.saved:.0%} | number {found.best} |")


if __name__ == "__main__":
    main()
