"""Train encoders under many loss weights, and store features of many views on the way.

    python benchmarks/fitness_study.py --out DIR [--real DIR] [--only motion]
    python benchmarks/fitness_study_analysis.py DIR

Each job is one training of 1,000 steps (300 on noise and on real clips), with the schedule of a
trial of that length. At each rung a copy of the encoder, with BatchNorm calibrated as a trial does,
encodes the held-out clips and the labelled videos; the features are written to
`DIR/<data set>/<job>/<step>.safetensors`. A trial that ends at a rung would have decayed its
learning rate by then, so the features at a rung are those of early stopping, not of shorter trials.

One process takes one job after the other. A finished job is skipped; an interrupted one restarts.
"""

import argparse
import copy
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from fitness_study_data import NOISE, Banks, DataSet, load_banks, open_run
from fitness_study_views import CROSS_VIEWS, names_at
from safetensors.torch import save_file
from torch import Tensor

from evossl.errors import UserError
from evossl.experiment.context import RunContext
from evossl.experiment.controls import run_random_init
from evossl.experiment.held_out import calibrate
from evossl.experiment.terms import active_weights
from evossl.io.spaces import load_space
from evossl.models.encoder import Encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.rng import derive_seed
from evossl.training.loop import TrainingFailedError, train
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from evossl.types import Stream

RUNGS = (50, 100, 200, 300, 500, 700, 1000)
FULL_RUNGS = (300, 1000)  # rungs at which every view is encoded; the others serve (a)
SHORT_RUNGS = (100, 300)
LOG_EVERY = 50
ENCODE_BATCH = 100
LARGEST_HALF = 6e4
NUM_RANDOM_INITS = 3
ACTIVE_SHARE = 0.35  # of the terms of a random weighting
FIRST = (
    "simclr",
    "order_binary",
    "random 4",
    "random 0",
    "tempo",
    "video_prediction",
    "random 5",
    "random 3",
    "random 1",
    "interpolation",
    "equal",
    "random 2",
    "simsiam",
)
SECOND = ("random 6", "reconstruction", "arrow_of_time", "swav", "byol")
THIRD = ("multimodal_contrast", "cross_modal_transfer", "multimodal_alignment", "random 7")


@dataclass(frozen=True)
class Job:
    """One training: a weighting ("equal", "random 3", or the name of a task) of a data set."""

    data: DataSet
    weighting: str

    @property
    def folder(self) -> Path:
        """The folder of the features."""
        return self.data.folder / self.weighting.replace(" ", "-")

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which features are stored; the last is the length of the training."""
        return RUNGS if self.data.name == "motion" else SHORT_RUNGS


def jobs_of(out: Path, real: Path | None) -> Iterator[Job]:
    """Yield all jobs, the most useful ones first."""
    inits = tuple(f"random_init {i}" for i in range(NUM_RANDOM_INITS))
    motion = [DataSet("motion", seed, out) for seed in (0, 1)]
    noise = [DataSet(name, seed, out) for name in NOISE for seed in (0, 1)]
    yield from (Job(motion[0], name) for name in (*inits, *FIRST))
    yield from (Job(data, name) for data in noise for name in (*inits[:2], "simclr"))
    yield from (Job(motion[1], name) for name in (*inits, *FIRST))
    yield from (Job(data, name) for name in (*SECOND, *THIRD) for data in motion)
    yield from (Job(data, name) for name in ("equal", "order_binary") for data in noise)
    if real is None:
        return
    for name in ("words", "surveillance"):
        data = DataSet(name, 0, out, real)
        tasks = data.space().tasks
        singles = [name for name in FIRST if " " in name or name == "equal" or name in tasks]
        for weighting in (*inits, *singles, "multimodal_contrast", "byol"):
            yield Job(data, weighting)


def weights_of(job: Job, context: RunContext) -> dict[str, float]:
    """Return the loss weight of every term; tasks that are not in `tiny` are only trained alone."""
    terms = context.resolved.terms
    searched = (
        set(load_space("tiny").tasks) if job.data.name != "words" else {t.task for t in terms}
    )
    kind, _, number = job.weighting.partition(" ")
    if kind == "equal":
        return {term.name: 0.5 * (term.task in searched) for term in terms}
    if kind != "random":
        return {term.name: float(term.task == kind) for term in terms}
    rng = np.random.default_rng(derive_seed("fitness study", int(number)) % 2**32)
    lowest = context.space.training.prune_below
    while True:
        is_active_T = rng.uniform(size=len(terms)) < ACTIVE_SHARE
        weight_T = rng.uniform(lowest, 1.0, size=len(terms)) * is_active_T
        drawn = {
            term.name: float(weight) * (term.task in searched)
            for term, weight in zip(terms, weight_T, strict=True)
        }
        try:
            active = active_weights(context.resolved, drawn)
        except UserError:
            continue
        if len(active) > 1:
            return drawn


@torch.inference_mode()
def encode(encoder: Encoder, bank: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return x_ND of each bank; float16 unless a value is too large for it."""
    encoder.eval()
    found = {}
    for name, pixels in bank.items():
        parts = [encoder(x.float()).embedding_BD.float() for x in torch.split(pixels, ENCODE_BATCH)]
        x_ND = torch.cat(parts)
        fits = bool(x_ND.abs().max() < LARGEST_HALF)
        found[name] = x_ND.half() if fits else x_ND
    return found


def collect(
    model: MultiTaskModel | None, encoder: Encoder, context: RunContext, banks: Banks, step: int
) -> dict[str, Tensor]:
    """Return the features of a copy of the encoder, and of its model's other encoders."""
    encoder = copy.deepcopy(encoder)
    calibrate(encoder, context.data.train, context.settings)
    names = names_at(step, FULL_RUNGS, banks.pixels)
    found = encode(encoder, {name: banks.pixels[name] for name in names})
    for stream in CROSS_VIEWS:
        if model is not None and step in FULL_RUNGS and stream in model.encoders:
            other = copy.deepcopy(model.encoder(Stream(stream)))
            update_bn_statistics(other, (x.float() for x in banks.calibration[stream]))
            found |= encode(other, {stream: banks.pixels[stream]})
    return found


def run_job(job: Job, context: RunContext, banks: Banks) -> None:
    """Train, store the features of each rung, and write `done.json` at the end."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    began = time.monotonic()
    kind, _, number = job.weighting.partition(" ")
    record: dict[str, object] = {"weighting": job.weighting, "reason": None}
    if kind == "random_init":
        encoder = run_random_init(context, int(number))
        found = collect(None, encoder, context, banks, FULL_RUNGS[-1])
        save_file(found, job.folder / "0.safetensors")
    else:
        weights = active_weights(context.resolved, weights_of(job, context))
        record["weights"] = weights
        try:
            train_and_collect(job, weights, context, banks)
        except TrainingFailedError as error:
            record["reason"] = str(error)
    shutil.rmtree(job.folder / "checkpoint", ignore_errors=True)
    record["seconds"] = time.monotonic() - began
    (job.folder / "done.json").write_text(json.dumps(record), encoding="utf-8")


def train_and_collect(
    job: Job, weights: Mapping[str, float], context: RunContext, banks: Banks
) -> None:
    """Train one weighting as a trial does, and store the features of each rung."""
    model = MultiTaskModel(context.resolved.select(weights), context.run.seed)
    objective = Objective(weights, context.run.gradient_scales)
    schedule = Schedule(job.rungs[-1], LOG_EVERY)
    with closing(train(model, context.data.train, objective, schedule, job.folder)) as reports:
        for report in reports:
            if report.step in job.rungs:
                found = collect(model, model.encoder(Stream.RGB), context, banks, report.step)
                save_file(found, job.folder / f"{report.step}.safetensors")


@cache
def prepared(data: DataSet) -> tuple[RunContext, Banks]:
    """Return the run and the banks of a data set."""
    context = open_run(data)
    return context, load_banks(data, context)


def main() -> None:
    """Run every job that is not done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", type=Path, help="folder with words/ and surveillance/")
    parser.add_argument("--only", nargs="+", help="names of data sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = options.out.resolve()
    for job in jobs_of(out, options.real):
        if options.only and job.data.name not in options.only:
            continue
        if (job.folder / "done.json").is_file():
            continue
        run_job(job, *prepared(job.data))
        record = json.loads((job.folder / "done.json").read_text(encoding="utf-8"))
        print(
            f"{job.data.name}-{job.data.seed} {job.weighting}: {record['seconds']:.0f} s "
            f"{record['reason'] or ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
