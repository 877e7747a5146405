"""Does the evolved loss beat random init, SimCLR alone, equal weights and random search?

    python benchmarks/evolved_vs_baselines.py --out DIR --seeds 5
    python benchmarks/evolved_vs_baselines_table.py DIR > table.md

It takes hours on 2 cores. It uses synthetic videos in two cases: the motion label with `ignores:
[colour, crop, time]`, and the appearance label with `ignores: [crop, time]`. Every seed has its own
videos, initial weights and searches; training and labelled videos are different. Trials run in two
processes, without Ray. Each finished part is a JSON file in --out, so an interrupted benchmark
continues where it stopped.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from evossl.config import Sampler, SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.loader import ClipLoader
from evossl.data.synth.dataset import synthesise
from evossl.evaluation.evaluate import EvaluationSettings, evaluate
from evossl.evaluation.features import open_clips
from evossl.evaluation.fold_data import LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, evaluate_folds, summarise
from evossl.evaluation.labels import labelled_videos
from evossl.evaluation.splits import make_folds
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.controls import run_random_init
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.held_out import held_out_features, scoring_features
from evossl.experiment.split import HeldOut
from evossl.experiment.terms import search_genotype
from evossl.experiment.trial import load_trained, run_trial
from evossl.experiment.trial_spec import TrialSpec
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder
from evossl.fitness.score import score
from evossl.io.spaces import load_space
from evossl.search.study import Study

IGNORES = {"motion": ("colour", "crop", "time"), "appearance": ("crop", "time")}
PROTOCOLS = ("knn", "linear")
NUM_FOLDS = 3
NUM_CLASSES = 8
NUM_RANDOM_INITS = 3
NUM_PROCESSES = 2
SIMCLR_TERM = "simclr.rgb"
LABELLED_SEED_OFFSET = 1000


@dataclass(frozen=True)
class Sizes:
    """The size of the benchmark.

    Attributes:
        videos: to train on.
        labelled: videos to evaluate on.
        trials: per search.
        steps: of a trial.
        final_steps: of a final training.
    """

    videos: int
    labelled: int
    trials: int
    steps: int
    final_steps: int


@dataclass(frozen=True)
class Setup:
    """One case with one seed: the folder of its files, and its run."""

    case: str
    seed: int
    folder: Path
    run: RunSpec

    @property
    def labels(self) -> Path:
        """Path of the labelled videos' manifest."""
        return self.folder.parent / f"labelled-{self.seed}" / "labels.parquet"


def space_of(case: str) -> SearchSpace:
    """Return the demo's space with the `ignores` of a case."""
    return load_space("tiny", {"ignores": list(IGNORES[case])})


def prepare(case: str, seed: int, sizes: Sizes, out: Path) -> Setup:
    """Write the videos, fill the cache and measure the gradient scales, unless that is done."""
    space = space_of(case)
    sources = (("train", sizes.videos, 0), ("labelled", sizes.labelled, LABELLED_SEED_OFFSET))
    for name, num, offset in sources:
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
    scales = load_or_create(folder / "scales.json", lambda: measure_run(RunContext.open(run)))
    return Setup(case, seed, folder, replace(run, gradient_scales=scales))


def load_or_create(path: Path, create: Callable[[], Any]) -> Any:
    """Return the content of a JSON file; create it if it does not exist."""
    if not path.is_file():
        path.write_text(json.dumps(create()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def accuracy(setup: Setup, context: RunContext, encoder: torch.nn.Module) -> dict[str, Any]:
    """Return an encoder's kNN and linear accuracy on the case's label, with 95 % intervals."""
    index = build_index(str(setup.labels), setup.folder / "labelled.parquet")
    cache = ClipCache(Path(setup.run.cache), context.space.cache)
    cache.fill(index.videos)
    stretch = context.space.clip.stretch
    loader = ClipLoader(cache, index.videos, stretch=stretch, batch_size=32, seed=0)
    held_out = HeldOut(loader, tuple(index.videos))
    clean_ND = scoring_features(encoder, held_out, context.settings, seed=0).clean_ND.numpy()
    data = labelled_videos(index.labels(setup.case), [video.group for video in index.videos])
    folds = make_folds(data.labels, data.groups, NUM_FOLDS, seed=0)
    features = LabelledFeatures(clean_ND, data.class_N, data.group_N)
    return {
        name: summarise(
            evaluate_folds(FROZEN_PROTOCOLS[name], features, folds, 0), folds, data.group_N, 0
        )
        for name in PROTOCOLS
    }


def train_and_evaluate(setup: Setup, spec: TrialSpec) -> dict[str, Any]:
    """Train, score and evaluate one set of loss weights; the result is stored in its folder."""
    torch.set_num_threads(1)
    folder = Path(str(spec.folder))

    def create() -> dict[str, Any]:
        context = RunContext.open(spec.run)
        result = run_trial(spec, context)
        is_trained = (folder / "checkpoint").is_dir()
        return {
            "fitness": result.fitness,
            "reason": result.reason,
            "seconds": result.seconds,
            "indicators": dict(result.indicators),
            "accuracy": accuracy(setup, context, load_trained(spec, context)) if is_trained else {},
        }

    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = load_or_create(folder / "graded.json", create)
    return found


def evaluate_random_inits(setup: Setup) -> list[dict[str, Any]]:
    """Score and evaluate untrained encoders in the same way."""
    torch.set_num_threads(1)
    context = RunContext.open(setup.run)
    rows = []
    for index in range(NUM_RANDOM_INITS):
        encoder = run_random_init(context, index)
        scored = score(
            held_out_features(encoder, context, context.data.selection), context.space.fitness, 0
        )
        found = accuracy(setup, context, encoder)
        rows.append({"fitness": scored.fitness, "indicators": scored.indicators, "accuracy": found})
    return rows


def evaluate_supervised(setup: Setup) -> dict[str, Any]:
    """Train the same encoder from scratch on the labels of each fold's other videos."""
    torch.set_num_threads(1)
    context = RunContext.open(setup.run)
    encoder = run_random_init(context, 0)
    config = EncoderConfig.from_space(context.space, encoder)
    index = build_index(str(setup.labels), setup.folder / "supervised.parquet")
    loader, report = open_clips(index.videos, config, Path(setup.run.cache), seed=setup.seed)
    label_of = dict(zip((v.path for v in index.videos), index.labels(setup.case), strict=True))
    videos = report.readable
    data = labelled_videos([label_of[v.path] for v in videos], [v.group for v in videos])
    folds = make_folds(data.labels, data.groups, NUM_FOLDS, seed=0)
    settings = EvaluationSettings(["finetune"])
    scores = evaluate(VideoEncoder(encoder, config), loader, data, folds, settings)
    return dict(scores["random_init"]["finetune"])


def trial_folder(setup: Setup, sampler: Sampler, number: int) -> Path:
    """Return the folder of a trial; all searches share trial 0, the equal weights."""
    return setup.folder / (f"{sampler.name}/{number}" if number else "equal-weights")


def search(
    setup: Setup, sampler: Sampler, sizes: Sizes, pool: ProcessPoolExecutor
) -> list[dict[str, Any]]:
    """Run a search of `sizes.trials` trials; return each trial's result and weights."""
    genotype = search_genotype(RunContext.open(setup.run).resolved)
    folder = setup.folder / sampler.name
    if (folder / "study.journal").is_file():
        study = Study.open(folder)
    else:
        study = Study.create(folder, genotype, sampler, setup.seed)
    results: dict[int, dict[str, Any]] = {}
    running: dict[Future[dict[str, Any]], Any] = {}
    with study:
        for row in study.rows():
            if row.status not in ("running", "control"):
                file = trial_folder(setup, sampler, row.trial) / "graded.json"
                results[row.trial] = load_or_create(file, dict) | {"weights": dict(row.weights)}
        while len(results) < sizes.trials:
            while len(running) < NUM_PROCESSES and len(results) + len(running) < sizes.trials:
                proposal = study.ask()
                path = str(trial_folder(setup, sampler, proposal.number))
                spec = TrialSpec(
                    proposal.number, proposal.weights, setup.run, sizes.steps, folder=path
                )
                running[pool.submit(train_and_evaluate, setup, spec)] = proposal
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                proposal, found = running.pop(future), future.result()
                study.tell(
                    proposal.number,
                    status="failed" if found["fitness"] is None else "complete",
                    fitness=found["fitness"],
                    reason=found["reason"],
                    seconds=found["seconds"],
                    indicators=found["indicators"],
                )
                results[proposal.number] = found | {"weights": dict(proposal.weights)}
    return [results[number] for number in sorted(results)]


def best_of(trials: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the trial of lowest fitness."""
    complete = [trial for trial in trials if trial["fitness"] is not None]
    return dict(min(complete, key=lambda trial: trial["fitness"]))


def run_setup(setup: Setup, sizes: Sizes, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Run all trainings of one case and seed; return their results."""
    inits = pool.submit(evaluate_random_inits, setup)
    supervised = pool.submit(evaluate_supervised, setup)
    evolved = search(setup, space_of(setup.case).sampler, sizes, pool)
    random = search(setup, Sampler(name="random"), sizes, pool)
    zeros = dict.fromkeys(setup.run.gradient_scales, 0.0)
    winners = {"random search": best_of(random), "evossl": best_of(evolved)}
    weights_of = {
        "SimCLR alone": zeros | {SIMCLR_TERM: 1.0},
        "equal weights": dict.fromkeys(setup.run.gradient_scales, 0.5),
        **{name: trial["weights"] for name, trial in winners.items()},
    }
    finals = run_finals(setup, sizes, weights_of, pool)
    for name, trial in winners.items():  # like `evossl search`, export the trial's own encoder
        if finals[name]["fitness"] is None:
            finals[name] = trial | {"reason": finals[name]["reason"]}
    return {
        "random init": inits.result(),
        "supervised": supervised.result(),
        "finals": finals,
        "trials": {"cmaes": evolved, "random": random},
        "weights": weights_of,
    }


def run_finals(
    setup: Setup,
    sizes: Sizes,
    weights_of: Mapping[str, Mapping[str, float]],
    pool: ProcessPoolExecutor,
) -> dict[str, dict[str, Any]]:
    """Run the final training of each named set of loss weights."""
    futures = {}
    for name, weights in weights_of.items():
        folder = str(setup.folder / "final" / name.replace(" ", "-"))
        spec = TrialSpec(0, weights, setup.run, sizes.final_steps, folder=folder)
        futures[name] = pool.submit(train_and_evaluate, setup, spec)
    return {name: future.result() for name, future in futures.items()}


def main() -> None:
    """Run every case and seed that has no result yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=list(IGNORES), choices=list(IGNORES))
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--labelled", type=int, default=400)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--final-steps", type=int, default=300)
    options = parser.parse_args()
    sizes = Sizes(
        options.videos, options.labelled, options.trials, options.steps, options.final_steps
    )
    with ProcessPoolExecutor(NUM_PROCESSES, mp_context=get_context("spawn")) as pool:
        for seed in range(options.seeds):
            for case in options.cases:
                file = options.out / f"{case}-{seed}.json"
                if file.is_file():
                    continue
                began = time.monotonic()
                setup = prepare(case, seed, sizes, options.out)
                file.write_text(json.dumps(run_setup(setup, sizes, pool)), encoding="utf-8")
                print(f"{case}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
