"""Does each published method learn? Alone, at equal compute, on synthetic videos; and on real ones.

    python benchmarks/methods.py --out DIR --real ../shared/data/surveillance
    python -m pytest tests/oracles tests/contract tests/properties -m "slow or not slow" \
        --junitxml DIR/tests.xml
    python benchmarks/methods_table.py DIR/tests.xml > docs/methods.md

`learn`: each space of `search_spaces/methods/` on the demo's encoder, RGB alone, its own `ignores`
but `flip` and `noise` (motions tell left from right, and are of few pixels), its tasks' default
options; 3 seeds of videos and of weights. Equal compute is equal encoder passes: a forward counts 1
and its backward 2, in shares of the pixels of a whole clip; SimCLR takes 600 steps. Before and
after training the same encoder is graded on labelled videos that it has not seen.
`longer`: those that go by their own clusters or average, at four times the compute.
`rho`, `svt`: the two tables of the papers that can be redone small, at equal steps.
`real`: each method on every place it names, 100 steps on real clips, or more.

Trainings run in two processes, without Ray, hours in all. Each leaves a line in `RESULTS`, which is
kept with the code: a benchmark that was cut short goes on where it was, on another machine too.
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
from methods_jobs import EDGE, SETTLED, Job, jobs_of, methods, teacher
from numpy.typing import NDArray
from torch import Tensor, nn

from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, build_index, load_index
from evossl.data.synth.dataset import synthesise
from evossl.evaluation.features import mean_over_clips, open_clips
from evossl.evaluation.labels import labelled
from evossl.evaluation.score import FROZEN, judge
from evossl.evaluation.splits import folds
from evossl.experiment.context import RunContext, measure_run
from evossl.experiment.held_out import calibrate
from evossl.experiment.trial import TrialSpec, load_trained, run_trial
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, export_encoder
from evossl.io.spaces import load_space
from evossl.models.encoder import Encoder, build_encoder
from evossl.task_loader import load_catalogue
from evossl.training.model import MultiTaskModel
from evossl.types import Stream
from evossl.views.colour import luma
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, Role, View

PARTS = ("learn", "longer", "real", "rho", "svt")
SEEDS = 3
VIDEOS = 1200  # of which 400 are held out for the fitness
LABELLED = 400
NUM_CLASSES = 8
NUM_FOLDS = 3
PASSES = 3600  # forwards and backwards of a whole clip, times the batch: 600 steps of SimCLR
PROCESSES = 2
FACTORS = ("motion", "appearance")  # RGB shows nothing of sound
PROTOCOLS = ("knn", "linear")
COLOURLESS = ("colorization", "cubic_puzzles", "jigsaw")  # their encoder never sees a colour
RESULTS = Path(__file__).with_name("results") / "methods"


def prepare(out: Path, seeds: int, real: Path | None) -> None:
    """Write the synthetic videos, index and cache all; skipped where it is done."""
    cache = ClipCache(out / "cache", load_space("tiny").cache)
    out.mkdir(parents=True, exist_ok=True)
    sources = {"real": real} if real else {}
    for seed in range(seeds):
        for name, num, offset in (("train", VIDEOS, 0), ("labelled", LABELLED, 1000)):
            sources[f"{name}-{seed}"] = folder = out / f"{name}-{seed}"
            if not (folder / "labels.parquet").is_file():
                synthesise(folder, num, NUM_CLASSES, seed + offset)
    for name, folder in sources.items():
        if name.startswith("labelled"):  # decoded as evaluation wants them, when first graded
            build_index(str(folder / "labels.parquet"), out / f"{name}.parquet")
        else:
            cache.fill(build_index(str(folder), out / f"{name}.parquet").videos)


def train_teacher(job: Job) -> None:
    """Train it, export it."""
    torch.set_num_threads(1)
    folder = job.folder / "encoder"
    if folder.is_dir():
        return
    spec = trial_of(job, round(PASSES / passes(job)))
    run_trial(spec)
    encoder = load_trained(spec)
    export_encoder(encoder, folder, EncoderConfig.of(job.space(), encoder))


def passes(job: Job) -> float:
    """Forwards, and twice the backwards, that a step takes of one clip; 1 is a whole RGB clip."""
    space, catalogue = job.space(), load_catalogue()
    terms = RunContext.open(job.run()).terms
    model = MultiTaskModel(terms, catalogue, space, seed=0)
    settings, fps = ViewSettings.from_space(space), space.cache.fps

    def size(view: View) -> int:
        pieces = view.pieces if view.cells is None else view.cells.count
        return pieces * math.prod(input_shape(view, settings, fps))

    whole = size(View(Stream.RGB, space=CLEAN))
    return (
        sum(size(v) * (3 if v.encoder is Role.STUDENT else 1) for v in model.plan.forwards) / whole
    )


def trial_of(job: Job, steps: int) -> TrialSpec:
    """The training of a job, its gradient scales measured."""
    run = job.run()
    job.folder.mkdir(parents=True, exist_ok=True)
    run = replace(run, scales=measure_run(run))
    weights = dict.fromkeys(run.scales, 1.0)
    return TrialSpec(0, weights, run, steps, folder=str(job.folder), log_every=1)


class Colourless(nn.Module):
    """An encoder that is shown the luma, three times, of normalised clips."""

    def __init__(self, encoder: nn.Module, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean, self.std = (torch.tensor(x).view(3, 1, 1) for x in (config.mean, config.std))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """What the encoder makes of it."""
        x_BTCHW = x_BCTHW.transpose(1, 2) * self.std + self.mean
        gray_BTCHW = (luma(x_BTCHW) - self.mean) / self.std
        return cast(Tensor, self.encoder(gray_BTCHW.transpose(1, 2)))


def hits(job: Job, encoder: Encoder, *, colourless: bool) -> dict[str, Any]:
    """Which labelled videos each protocol gets right, by factor, in the order of the folds.

    Under "colourless" too, shown no colour, where that is asked for.
    """
    exported = VideoEncoder(encoder, EncoderConfig.of(job.space(), encoder))
    config = exported.config
    index = load_index(job.out / f"labelled-{job.seed}.parquet")
    loader, _ = open_clips(index.videos, config, job.out / "cache", seed=0)

    def of(network: nn.Module) -> dict[str, Any]:
        x_ND = mean_over_clips(network, config, loader, range(len(index.videos))).numpy()
        return hits_of(x_ND, index)

    return of(exported) | ({"colourless": of(Colourless(exported, config))} if colourless else {})


def hits_of(x_ND: NDArray[np.float32], index: Index) -> dict[str, Any]:
    """As `hits`, of the videos' features."""
    found: dict[str, Any] = {}
    for factor in FACTORS:
        data = labelled(index.labels(factor), [video.group for video in index.videos])
        parts = folds(data.labels, data.groups, NUM_FOLDS, seed=0)
        order = np.concatenate([fold.test_idx for fold in parts])
        found[factor] = {"class": digits(data.class_N[order])}
        for name in PROTOCOLS:
            judged = judge(FROZEN[name], x_ND, data.class_N, data.group_N, parts, 0)
            right = [
                metrics["accuracy"](np.array([row])) > 0
                for metrics, fold in zip(judged, parts, strict=True)
                for row in range(len(fold.test_idx))
            ]
            found[factor][name] = digits(right)
    return found


def digits(numbers: Iterable[int]) -> str:
    """Numbers below ten, one character each."""
    return "".join(str(int(number)) for number in numbers)


def grade_untrained(job: Job) -> dict[str, Any]:
    """`hits` before any training: a seed's methods all begin at the same encoder."""
    torch.set_num_threads(1)
    bench = RunContext.open(job.run())
    untrained = build_encoder(Stream.RGB, bench.space.backbone, job.seed or 0)
    calibrate(untrained, bench.data.train, bench.settings)
    return hits(job, untrained, colourless=True)


def run_job(job: Job) -> dict[str, Any]:
    """Train and grade; return the training's line."""
    torch.set_num_threads(1)
    cost = passes(job)
    spec = trial_of(job, job.steps or round(PASSES * job.times / cost))
    result = run_trial(spec)
    lines = (job.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    resolve_strides = SETTLED.get(job.task, EDGE)
    edges = (losses[resolve_strides : resolve_strides + EDGE], losses[-EDGE:])
    early, late = (mean_losses(part) for part in edges)
    return {
        "steps": spec.steps,
        "passes": cost,
        "seconds": round(result.seconds, 1),
        "fitness": result.fitness,
        "reason": result.reason,
        "rankme": result.indicators.get("rankme"),
        "loss": {term: [early[term], late[term]] for term in late},
        "hits": None
        if job.seed is None
        else hits(job, load_trained(spec), colourless=job.task in COLOURLESS),
    }


def mean_losses(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each term's mean over some steps."""
    return {term: fmean(step[term] for step in steps) for term in steps[0]}


def read(part: str) -> dict[tuple[str, int | None], dict[str, Any]]:
    """The lines of a part, by row and seed."""
    file = RESULTS / f"{part}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {(row["name"], row["seed"]): row for row in map(json.loads, lines)}


def work(do: Callable[[Job], dict[str, Any]], part: str, jobs: Sequence[Job]) -> None:
    """Do what is not done yet; write down each line as it comes."""
    done = read(part)
    jobs = [job for job in jobs if (job.name, job.seed) not in done]
    RESULTS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        under_way = {pool.submit(do, job): job for job in jobs}
        for number, future in enumerate(as_completed(under_way), start=1):
            job = under_way[future]
            line = json.dumps({"name": job.name, "seed": job.seed} | future.result())
            with (RESULTS / f"{part}.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            left = (time.monotonic() - began) / number * (len(jobs) - number) / 60
            print(f"{part} {number}/{len(jobs)}: {job.name}, {left:.0f} min left", flush=True)


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--real", type=Path, help="folder of real clips, for the part `real`")
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    out = options.out.resolve()
    prepare(out, options.seeds, options.real)
    teachers = [teacher(out, seed) for seed in range(options.seeds)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(train_teacher, teachers))
    begun = [replace(job, name="untrained", width=Job.width) for job in teachers]
    work(grade_untrained, "untrained", begun)
    for part in options.parts:
        jobs = jobs_of(part, out, options.seeds)
        work(run_job, part, [job for job in jobs if job.task in options.methods])


if __name__ == "__main__":
    main()
