"""Does each published method learn? Trains each alone on synthetic videos, and on real clips.

    python benchmarks/train_methods.py --out DIR --real ../shared/data/surveillance
    python -m pytest tests/oracles tests/contract tests/properties -m "slow or not slow" \
        --junitxml DIR/tests.xml
    python benchmarks/methods_page.py DIR/tests.xml > docs/methods.md

It takes hours on 2 cores (two processes, without Ray). The parts:

- `learn`: each method of `search_spaces/methods/` on the demo's encoder, on RGB, with its own
  `ignores` without `flip` and `noise`, and its task's default options; 3 seeds of videos and
  weights. All have the same number of encoder passes. A forward pass counts 1 and a backward pass
  2, scaled by the pixels relative to a whole clip; SimCLR takes 600 steps. The same encoder is
  evaluated before and after training on labelled videos that it has not seen.
- `longer`: the methods that start slowly, with four times the compute.
- `rho`, `svt`: the two tables of the papers that can be repeated at a small size.
- `real`: each method on every place it supports, for 100 steps or more on real clips.

Each training adds a line to `benchmarks/results/methods/`, which is stored with the code. An
interrupted benchmark therefore continues where it stopped, also on another machine.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from method_jobs import NUM_COMPARED_STEPS, SETTLING_STEPS, Job, jobs_of, methods, teacher_job
from numpy.typing import NDArray
from torch import Tensor, nn

from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, build_index, load_index
from evossl.data.synth.dataset import synthesise
from evossl.evaluation.features import mean_over_clips, open_clips
from evossl.evaluation.fold_data import LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, predict_folds
from evossl.evaluation.labels import labelled_videos
from evossl.evaluation.metrics import ClassPredictions, Predictions
from evossl.evaluation.splits import make_folds
from evossl.experiment.context import RunContext
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.held_out import calibrate
from evossl.experiment.trial import load_trained, run_trial
from evossl.experiment.trial_spec import TrialSpec
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, export_encoder
from evossl.io.spaces import load_space
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.model import MultiTaskModel
from evossl.training.resolved_space import resolve_space
from evossl.types import Stream
from evossl.views.colour import luma
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, Role, View

PARTS = ("learn", "longer", "real", "rho", "svt")
NUM_SEEDS = 3
NUM_VIDEOS = 1200  # of which 400 are held out for the fitness
NUM_LABELLED = 400
NUM_CLASSES = 8
NUM_FOLDS = 3
NUM_PASSES = 3600  # per clip of a batch: 600 steps of SimCLR
NUM_PROCESSES = 2
FACTORS = ("motion", "appearance")  # RGB shows nothing of the sound
PROTOCOLS = ("knn", "linear")
GRAYSCALE_METHODS = ("colorization", "cubic_puzzles", "jigsaw")  # their encoder sees no colour
RESULTS_FOLDER = Path(__file__).with_name("results") / "methods"


def prepare(out: Path, num_seeds: int, real: Path | None) -> None:
    """Write the synthetic videos, index and cache all videos, unless that is done."""
    cache = ClipCache(out / "cache", load_space("tiny").cache)
    out.mkdir(parents=True, exist_ok=True)
    sources = {"real": real} if real else {}
    for seed in range(num_seeds):
        for name, num, offset in (("train", NUM_VIDEOS, 0), ("labelled", NUM_LABELLED, 1000)):
            sources[f"{name}-{seed}"] = folder = out / f"{name}-{seed}"
            if not (folder / "labels.parquet").is_file():
                synthesise(folder, num, NUM_CLASSES, seed + offset)
    for name, folder in sources.items():
        if name.startswith("labelled"):  # the evaluation decodes them at its own size
            build_index(str(folder / "labels.parquet"), out / f"{name}.parquet")
        else:
            cache.fill(build_index(str(folder), out / f"{name}.parquet").videos)


def train_teacher(job: Job) -> None:
    """Train and export a teacher, unless that is done."""
    torch.set_num_threads(1)
    folder = job.folder / "encoder"
    if folder.is_dir():
        return
    context, spec = open_trial(job, round(NUM_PASSES / passes_per_clip(job)))
    run_trial(spec, context)
    encoder = load_trained(spec, context)
    export_encoder(encoder, folder, EncoderConfig.from_space(context.space, encoder))


def passes_per_clip(job: Job) -> float:
    """Return the encoder passes of a step per clip: forward 1, backward 2, for a whole RGB clip."""
    model = MultiTaskModel(resolve_space(job.space()), seed=0)
    settings, fps = model.settings, model.space.cache.fps

    def size(view: View) -> int:
        pieces = view.pieces if view.cells is None else view.cells.count
        return pieces * math.prod(input_shape(view, settings, fps))

    whole = size(View(Stream.RGB, space=CLEAN))
    forwards = model.plan.forwards
    return sum(size(v) * (3 if v.encoder is Role.STUDENT else 1) for v in forwards) / whole


def open_trial(job: Job, steps: int) -> tuple[RunContext, TrialSpec]:
    """Open a job's run, measure its gradient scales, and return its context and its trial."""
    job.folder.mkdir(parents=True, exist_ok=True)
    context = RunContext.open(job.run_spec())
    context = context.with_gradient_scales(measure_run(context))
    weights = dict.fromkeys(context.run.gradient_scales, 1.0)
    folder = str(job.folder)
    return context, TrialSpec(0, weights, context.run, steps, folder=folder, log_every=1)


class GrayscaleInput(nn.Module):
    """An encoder that gets the luma of normalised clips in all three channels."""

    def __init__(self, encoder: nn.Module, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean, self.std = (torch.tensor(x).view(3, 1, 1) for x in (config.mean, config.std))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the encoder's output for clips without colour."""
        x_BTCHW = x_BCTHW.transpose(1, 2) * self.std + self.mean
        gray_BTCHW = (luma(x_BTCHW) - self.mean) / self.std
        return cast(Tensor, self.encoder(gray_BTCHW.transpose(1, 2)))


def hits(job: Job, encoder: Encoder, *, grayscale: bool) -> dict[str, Any]:
    """Return which labelled videos each protocol classifies correctly, by factor.

    The videos are in the order of the folds' test sides. With `grayscale`, the key "colourless"
    holds the same for clips without colour.
    """
    exported = VideoEncoder(encoder, EncoderConfig.from_space(job.space(), encoder))
    config = exported.config
    index = load_index(job.out / f"labelled-{job.seed}.parquet")
    loader, _ = open_clips(index.videos, config, job.out / "cache", seed=0)

    def hits_with(network: nn.Module) -> dict[str, Any]:
        x_ND = mean_over_clips(network, config, loader, range(len(index.videos))).numpy()
        return hits_of_features(x_ND, index)

    found = hits_with(exported)
    if grayscale:
        found["colourless"] = hits_with(GrayscaleInput(exported, config))
    return found


def hits_of_features(x_ND: NDArray[np.float32], index: Index) -> dict[str, Any]:
    """Return the same as `hits`, from the features of the videos."""
    found: dict[str, Any] = {}
    for factor in FACTORS:
        data = labelled_videos(index.labels(factor), [video.group for video in index.videos])
        folds = make_folds(data.labels, data.groups, NUM_FOLDS, seed=0)
        order = np.concatenate([fold.test_idx for fold in folds])
        found[factor] = {"class": as_digits(data.class_N[order])}
        features = LabelledFeatures(x_ND, data.class_N, data.group_N)
        for name in PROTOCOLS:
            predictions = predict_folds(FROZEN_PROTOCOLS[name], features, folds, 0)
            is_hit_N = np.concatenate([is_hit_M(each) for each in predictions])
            found[factor][name] = as_digits(is_hit_N)
    return found


def is_hit_M(predictions: Predictions) -> NDArray[np.bool_]:
    """Return whether the class of each test clip is predicted correctly."""
    assert isinstance(predictions, ClassPredictions)
    return np.equal(predictions.true_M, predictions.predicted_M)


def as_digits(numbers: Iterable[int]) -> str:
    """Return numbers below ten as one character each."""
    return "".join(str(int(number)) for number in numbers)


def evaluate_untrained(job: Job) -> dict[str, Any]:
    """Return the hits before training; all methods of a seed start with the same encoder."""
    torch.set_num_threads(1)
    context = RunContext.open(job.run_spec())
    untrained = build_encoder(Stream.RGB, context.space.backbone, job.seed or 0)
    calibrate(untrained, context.data.train, context.settings)
    return hits(job, untrained, grayscale=True)


def run_job(job: Job) -> dict[str, Any]:
    """Train and evaluate; return the line of the training."""
    torch.set_num_threads(1)
    passes = passes_per_clip(job)
    context, spec = open_trial(job, job.steps or round(NUM_PASSES * job.times / passes))
    result = run_trial(spec, context)
    early, late = early_and_late_losses(job)
    found = None
    if job.seed is not None:
        encoder = load_trained(spec, context)
        found = hits(job, encoder, grayscale=job.method in GRAYSCALE_METHODS)
    return {
        "steps": spec.steps,
        "passes": passes,
        "seconds": round(result.seconds, 1),
        "fitness": result.fitness,
        "reason": result.reason,
        "rankme": result.indicators.get("rankme"),
        "loss": {term: [early[term], late[term]] for term in late},
        "hits": found,
    }


def early_and_late_losses(job: Job) -> tuple[dict[str, float], dict[str, float]]:
    """Return each term's mean loss over early steps and over the last ones."""
    lines = (job.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    first = SETTLING_STEPS.get(job.method, NUM_COMPARED_STEPS)
    early = losses[first : first + NUM_COMPARED_STEPS]
    return mean_losses(early), mean_losses(losses[-NUM_COMPARED_STEPS:])


def mean_losses(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each term's mean over some steps."""
    return {term: fmean(step[term] for step in steps) for term in steps[0]}


def read_results(part: str) -> dict[tuple[str, int | None], dict[str, Any]]:
    """Return the lines of a part, by row and seed."""
    file = RESULTS_FOLDER / f"{part}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {(row["name"], row["seed"]): row for row in map(json.loads, lines)}


def run_jobs(run: Callable[[Job], dict[str, Any]], part: str, jobs: Sequence[Job]) -> None:
    """Run the jobs that have no result yet; store each result as it comes."""
    done = read_results(part)
    jobs = [job for job in jobs if (job.name, job.seed) not in done]
    RESULTS_FOLDER.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ProcessPoolExecutor(NUM_PROCESSES, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run, job): job for job in jobs}
        for number, future in enumerate(as_completed(running), start=1):
            job = running[future]
            line = json.dumps({"name": job.name, "seed": job.seed} | future.result())
            with (RESULTS_FOLDER / f"{part}.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            left = (time.monotonic() - began) / number * (len(jobs) - number) / 60
            print(f"{part} {number}/{len(jobs)}: {job.name}, {left:.0f} min left", flush=True)


def main() -> None:
    """Run the jobs that have no result yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for videos and trainings")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--real", type=Path, help="folder of real clips, for the part `real`")
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS)
    options = parser.parse_args()
    out = options.out.resolve()
    prepare(out, options.seeds, options.real)
    teachers = [teacher_job(out, seed) for seed in range(options.seeds)]
    with ProcessPoolExecutor(NUM_PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(train_teacher, teachers))
    untrained = [replace(job, name="untrained", width=Job.width) for job in teachers]
    run_jobs(evaluate_untrained, "untrained", untrained)
    for part in options.parts:
        jobs = jobs_of(part, out, options.seeds)
        run_jobs(run_job, part, [job for job in jobs if job.method in options.methods])


if __name__ == "__main__":
    main()
