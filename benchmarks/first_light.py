"""First light: does the evolved loss beat random init, SimCLR, equal weights and random search?

    python benchmarks/first_light.py --out /tmp/first_light --seeds 5            # synthetic videos
    python benchmarks/first_light.py --out /tmp/first_light --table docs/results.md

On synthetic videos, twice: the motion label with `ignores: [colour, crop, time]` and the appearance
label with `ignores: [crop, time]`. Every seed has videos, initial weights and searches of its own;
training videos and labelled videos are different ones. Trials run in two processes, without Ray.
Each finished part is a JSON file in --out: a killed benchmark goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from evossl import config
from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.loader import ClipLoader
from evossl.data.synth.dataset import synthesise
from evossl.evaluation.evaluate import evaluate
from evossl.evaluation.features import open_clips
from evossl.evaluation.labels import labelled
from evossl.evaluation.score import FROZEN, judge, summarise
from evossl.evaluation.splits import folds
from evossl.experiment.context import RunContext, RunSpec, features_of, measure_run, random_init
from evossl.experiment.held_out import scoring_features
from evossl.experiment.terms import search_genotype
from evossl.experiment.trial import TrialSpec, load_trained, run_trial
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder
from evossl.fitness.score import score
from evossl.io.spaces import load_space
from evossl.search.study import Study

CASES = {"motion": ("colour", "crop", "time"), "appearance": ("crop", "time")}
PROTOCOLS = ("knn", "linear")
NUM_FOLDS = 3
NUM_CLASSES = 8
NUM_RANDOM_INITS = 3
PROCESSES = 2
SIMCLR = "simclr.rgb"


@dataclass(frozen=True)
class Plan:
    """How large: videos to train on and to be labelled, trials, steps of a trial and of a final."""

    videos: int
    labelled: int
    trials: int
    steps: int
    final_steps: int


@dataclass(frozen=True)
class Site:
    """One case and seed: where its files are, and its run."""

    case: str
    seed: int
    folder: Path
    run: RunSpec

    @property
    def labels(self) -> Path:
        """The labelled videos' manifest."""
        return self.folder.parent / f"labelled-{self.seed}" / "labels.parquet"


def space_of(case: str) -> SearchSpace:
    """The demo's space, with the case's `ignores`."""
    return load_space("tiny", {"ignores": list(CASES[case])})


def open_site(case: str, seed: int, plan: Plan, out: Path) -> Site:
    """Write the videos, fill the cache, measure the scales; skipped where it is done."""
    space = space_of(case)
    for name, num, offset in (("train", plan.videos, 0), ("labelled", plan.labelled, 1000)):
        folder = out / f"{name}-{seed}"
        if not (folder / "labels.parquet").is_file():
            synthesise(folder, num, NUM_CLASSES, seed + offset)
    folder = out / f"{case}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    index = build_index(str(out / f"train-{seed}"), folder / "manifest.parquet")
    ClipCache(out / "cache", space.cache).fill(index.videos)
    run = RunSpec(
        space.model_dump_json(),
        str(folder / "manifest.parquet"),
        str(out / "cache"),
        str(folder),
        seed,
    )
    scales = remember(folder / "scales.json", lambda: measure_run(run))
    return Site(case, seed, folder, replace(run, scales=scales))


def remember(path: Path, make: Any) -> Any:
    """Return what `path` holds, or make and keep it."""
    if not path.is_file():
        path.write_text(json.dumps(make()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def accuracy(site: Site, encoder: torch.nn.Module) -> dict[str, Any]:
    """KNN and linear accuracy of an encoder on the case's label, with 95 % intervals."""
    bench = RunContext.open(site.run)
    index = build_index(str(site.labels), site.folder / "labelled.parquet")
    cache = ClipCache(Path(site.run.cache), bench.space.cache)
    cache.fill(index.videos)
    stretch = bench.space.clip.stretch
    loader = ClipLoader(cache, index.videos, stretch=stretch, batch_size=32, seed=0)
    rows = range(len(index.videos))
    features = scoring_features(encoder, loader, bench.settings, rows, seed=0).clean_ND.numpy()
    data = labelled(index.labels(site.case), [video.group for video in index.videos])
    parts = folds(data.labels, data.groups, NUM_FOLDS, seed=0)
    return {
        name: summarise(
            judge(FROZEN[name], features, data.class_N, data.group_N, parts, 0),
            parts,
            data.group_N,
            0,
        )
        for name in PROTOCOLS
    }


def run_one(site: Site, spec: TrialSpec) -> dict[str, Any]:
    """Train, score and grade one weighting, in a process of its own."""
    torch.set_num_threads(1)
    file = Path(str(spec.folder)) / "graded.json"

    def grade() -> dict[str, Any]:
        result = run_trial(spec)
        is_trained = (Path(str(spec.folder)) / "checkpoint").is_dir()
        graded = accuracy(site, load_trained(spec)) if is_trained else {}
        return {
            "fitness": result.fitness,
            "reason": result.reason,
            "seconds": result.seconds,
            "indicators": dict(result.indicators),
            "accuracy": graded,
        }

    file.parent.mkdir(parents=True, exist_ok=True)
    graded: dict[str, Any] = remember(file, grade)
    return graded


def grade_random_inits(site: Site) -> list[dict[str, Any]]:
    """Untrained encoders, scored and graded in the same way."""
    torch.set_num_threads(1)
    rows = []
    for i in range(NUM_RANDOM_INITS):
        encoder = random_init(site.run, i)
        scored = score(features_of(encoder, site.run), RunContext.open(site.run).space.fitness, 0)
        grades = accuracy(site, encoder)
        rows.append(
            {"fitness": scored.fitness, "indicators": scored.indicators, "accuracy": grades}
        )
    return rows


def grade_supervised(site: Site) -> dict[str, Any]:
    """The same encoder trained from scratch on the labels of each fold's other videos."""
    torch.set_num_threads(1)
    bench = RunContext.open(site.run)
    encoder = random_init(site.run, 0)
    config_of = EncoderConfig.of(bench.space, encoder)
    index = build_index(str(site.labels), site.folder / "supervised.parquet")
    loader, report = open_clips(index.videos, config_of, Path(site.run.cache), seed=site.seed)
    labels = dict(zip((v.path for v in index.videos), index.labels(site.case), strict=True))
    videos = report.readable
    data = labelled([labels[v.path] for v in videos], [v.group for v in videos])
    parts = folds(data.labels, data.groups, NUM_FOLDS, seed=0)
    scores = evaluate(
        VideoEncoder(encoder, config_of), loader, data, parts, protocols=["finetune"], seed=0
    )
    return dict(scores["random_init"]["finetune"])


def trial_folder(site: Site, sampler: config.Sampler, number: int) -> Path:
    """Where a trial is; trial 0 is equal weights, whoever searches: trained once."""
    return site.folder / (f"{sampler.name}/{number}" if number else "equal-weights")


def search(
    site: Site, sampler: config.Sampler, plan: Plan, pool: ProcessPoolExecutor
) -> list[dict[str, Any]]:
    """Run a search of `plan.trials` trials; return each trial's grades and weights."""
    bench = RunContext.open(site.run)
    space = bench.space.model_copy(update={"sampler": sampler})
    genotype = search_genotype(space, bench.terms, bench.tasks)
    folder = site.folder / sampler.name
    make = Study.open if (folder / "study.journal").is_file() else None
    study = make(folder) if make else Study.create(folder, genotype, sampler, site.seed)
    graded: dict[int, dict[str, Any]] = {}
    under_way: dict[Future[dict[str, Any]], Any] = {}
    with study:
        for row in study.rows():
            if row.status not in ("running", "control"):
                file = trial_folder(site, sampler, row.trial) / "graded.json"
                graded[row.trial] = remember(file, dict) | {"weights": dict(row.weights)}
        while len(graded) < plan.trials:
            while len(under_way) < PROCESSES and len(graded) + len(under_way) < plan.trials:
                proposal = study.ask()
                where = str(trial_folder(site, sampler, proposal.number))
                spec = TrialSpec(
                    proposal.number, proposal.weights, site.run, plan.steps, folder=where
                )
                under_way[pool.submit(run_one, site, spec)] = proposal
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                proposal, found = under_way.pop(future), future.result()
                study.tell(
                    proposal.number,
                    status="failed" if found["fitness"] is None else "complete",
                    fitness=found["fitness"],
                    reason=found["reason"],
                    seconds=found["seconds"],
                    indicators=found["indicators"],
                )
                graded[proposal.number] = found | {"weights": dict(proposal.weights)}
    return [graded[number] for number in sorted(graded)]


def best_of(trials: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The trial of lowest fitness."""
    complete = [trial for trial in trials if trial["fitness"] is not None]
    return dict(min(complete, key=lambda trial: trial["fitness"]))


def run_site(site: Site, plan: Plan, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Everything of one case and seed."""
    inits = pool.submit(grade_random_inits, site)
    supervised = pool.submit(grade_supervised, site)
    bench = RunContext.open(site.run)
    evolved = search(site, bench.space.sampler, plan, pool)
    randomly = search(site, config.Sampler(name="random"), plan, pool)
    off = dict.fromkeys(site.run.scales, 0.0)
    found = {"random search": best_of(randomly), "evossl": best_of(evolved)}
    finals = {
        "SimCLR alone": off | {SIMCLR: 1.0},
        "equal weights": dict.fromkeys(site.run.scales, 0.5),
        **{name: trial["weights"] for name, trial in found.items()},
    }
    futures = {
        name: pool.submit(
            run_one,
            site,
            TrialSpec(
                0,
                weights,
                site.run,
                plan.final_steps,
                folder=str(site.folder / "final" / name.replace(" ", "-")),
            ),
        )
        for name, weights in finals.items()
    }
    rows = {name: future.result() for name, future in futures.items()}
    for name, trial in found.items():  # as `evossl search`: the trial's own encoder leaves instead
        if rows[name]["fitness"] is None:
            rows[name] = trial | {"reason": rows[name]["reason"]}
    return {
        "random init": inits.result(),
        "supervised": supervised.result(),
        "finals": rows,
        "trials": {"cmaes": evolved, "random": randomly},
        "weights": finals,
    }


def main() -> None:
    """Run what is not there yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--labelled", type=int, default=400)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--final-steps", type=int, default=300)
    options = parser.parse_args()
    plan = Plan(
        options.videos, options.labelled, options.trials, options.steps, options.final_steps
    )
    context = get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        for seed in range(options.seeds):
            for case in options.cases:
                file = options.out / f"{case}-{seed}.json"
                if file.is_file():
                    continue
                began = time.monotonic()
                site = open_site(case, seed, plan, options.out)
                file.write_text(json.dumps(run_site(site, plan, pool)), encoding="utf-8")
                print(f"{case}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
