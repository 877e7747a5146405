"""Does each published method learn? Alone, at equal compute, on synthetic videos; and on real ones.

    python benchmarks/methods.py --out DIR --real ../shared/data/surveillance
    python -m pytest tests/oracles tests/contract tests/properties -m "slow or not slow" \
        --junitxml DIR/tests.xml
    python benchmarks/methods_table.py DIR > docs/methods.md

`learn`: each space of `search_spaces/methods/` on the demo's encoder, RGB alone, its own `ignores`
but `flip` (motions tell left from right), its tasks' default options; 3 seeds of videos and of
weights. Equal compute is equal encoder passes: a forward counts 1 and its backward 2, in shares of
the pixels of a whole clip; SimCLR takes 300 steps. Before and after training the same encoder
is graded on labelled videos that it has not seen.
`rho`, `svt`: the two tables of the papers that can be redone small, at equal steps.
`real`: each method on every place it names, 200 steps on real clips.

Trainings run in two processes, without Ray. Each is a JSON file in --out: a killed benchmark goes
on where it was.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evossl.config import SearchSpace, load_space, shipped_spaces
from evossl.encoders import Encoder, build_encoder
from evossl.evaluation.features import extract_features, open_clips
from evossl.evaluation.labels import labelled
from evossl.evaluation.score import FROZEN, judge
from evossl.evaluation.splits import folds
from evossl.export import EncoderConfig, VideoEncoder, export_encoder
from evossl.files import write_json
from evossl.streams import Stream
from evossl.task import load_catalogue
from evossl.training.features import calibrate
from evossl.training.model import MultiTaskModel
from evossl.training.workbench import RunSpec, Workbench, measure_run
from evossl.trial import TrialSpec, load_trained, run_trial
from evossl.video.cache import ClipCache
from evossl.video.index import build_index, load_index
from evossl.video.synth import synthesise
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, View

PARTS = ("learn", "real", "rho", "svt")
SEEDS = 3
VIDEOS = 1200  # of which 400 are held out for the fitness
LABELLED = 400
NUM_CLASSES = 8
NUM_FOLDS = 3
PASSES = 1800  # forwards and backwards of a whole clip, times the batch: 300 steps of SimCLR
STEPS = 200  # of the papers' tables
REAL_STEPS = 200
PROCESSES = 2
FACTORS = ("motion", "appearance")  # RGB shows nothing of sound
PROTOCOLS = ("knn", "linear")
TEACHERS_TASK, TEACHERS_WIDTH = "video_prediction", 16
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "video_prediction": {"gradients": 1.0},
    **{f"rho_{method}": {"rho": 4} for method in ("simclr", "moco", "byol", "swav")},
}
"""Where a method's recipe is more than its task's defaults, and its sizes suit small clips."""
MATCHINGS = (
    ("l->g",),
    ("g->g",),
    ("l->g", "g->g"),
    ("l->g", "g->g", "l->l"),
    ("l->g", "g->g", "g->l"),
    ("l->g", "g->g", "l->l", "g->l"),
)


@dataclass(frozen=True)
class Job:
    """One training: of a task alone, on the synthetic videos of a seed, or on the real clips.

    Attributes:
        file: where its result goes.
        task: of the catalogue. options: its own. ignores: of its space.
        seed: of videos, weights and views; None for the real clips.
        steps: None for as many as `PASSES` buys.
        place: "rgb", "rgb+flow", "flow->rgb", ...
    """

    file: Path
    task: str
    options: Mapping[str, Any]
    ignores: tuple[str, ...]
    seed: int | None
    steps: int | None = None
    place: str = "rgb"
    width: int = 8

    @property
    def out(self) -> Path:
        """The benchmark's folder."""
        return self.file.parent.parent

    @property
    def folder(self) -> Path:
        """Where it trains."""
        return self.file.with_suffix("")

    def space(self) -> SearchSpace:
        """The demo's encoder, clips and optimiser under this task alone."""
        tiny = load_space("tiny", {"ignores": list(self.ignores)})
        named = self.place.replace("->", "+").split("+")
        streams = [stream for stream in Stream if stream == "rgb" or stream in named]
        task = load_catalogue()[self.task]
        places = [f"{self.place}.{v}" for v in task.variants] or [self.place]
        choice: dict[str, Any] = {"places": places, "weight": 1.0, "options": dict(self.options)}
        if task.needs_teacher:
            choice["teacher"] = str(self.out / "teachers" / f"{self.seed or 0}-encoder")
        update = {"backbone": tiny.backbone.model_copy(update={"width": self.width})}
        raw = tiny.model_copy(update=update).model_dump(mode="json")
        return SearchSpace.model_validate(raw | {"streams": streams, "tasks": {self.task: choice}})

    def run(self) -> RunSpec:
        """What its trial shares with nothing else."""
        data = "real" if self.seed is None else f"train-{self.seed}"
        manifest, cache = self.out / f"{data}.parquet", self.out / "cache"
        paths = (str(manifest), str(cache), str(self.folder))
        return RunSpec(self.space().model_dump_json(), *paths, self.seed or 0)


def methods() -> list[str]:
    """The methods that have a space."""
    return sorted(name.split("/")[1] for name in shipped_spaces() if name.startswith("methods/"))


def ignores_of(method: str) -> tuple[str, ...]:
    """What the method's space ignores, but for the mirror: motions tell left from right."""
    ignored = load_space(f"methods/{method}").ignores
    return tuple(word for word in ignored if word != "flip")


def jobs_of(part: str, out: Path, seeds: int) -> Iterator[Job]:
    """The trainings of a part."""
    if part == "real":
        yield from real_jobs(out)
        return
    for seed in range(seeds):
        for name, task, options, steps in rows_of(part):
            file = out / part / f"{name}-{seed}.json"
            yield Job(file, task, options, ignores_of(task), seed, steps)


def rows_of(part: str) -> Iterator[tuple[str, str, Mapping[str, Any], int | None]]:
    """The rows of a synthetic part: name, task, options, steps."""
    if part == "learn":
        yield from ((name, name, OPTIONS.get(name, {}), None) for name in methods())
    elif part == "rho":
        for task in ("rho_simclr", "rho_moco", "rho_byol", "rho_swav"):
            yield from ((f"{task}-{rho}", task, {"rho": rho}, STEPS) for rho in (1, 2, 4))
    else:
        for row, matchings in enumerate(MATCHINGS):
            yield f"{row}", "svt", {"matchings": list(matchings)}, STEPS


def real_jobs(out: Path) -> Iterator[Job]:
    """Each method on each of its places."""
    catalogue = load_catalogue()
    for method in methods():
        for site in catalogue[method].places:
            place = ("->" if site.directed else "+").join(site.streams)
            file = out / "real" / f"{method}-{place.replace('->', '-to-')}.json"
            options = OPTIONS.get(method, {})
            yield Job(file, method, options, ignores_of(method), None, REAL_STEPS, place)


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
    """A wider encoder under one task, which knowledge distillation is taught by."""
    torch.set_num_threads(1)
    folder = job.folder.with_name(f"{job.folder.name}-encoder")
    if folder.is_dir():
        return
    spec = trial_of(job, round(PASSES / passes(job)))
    run_trial(spec)
    encoder = load_trained(spec)
    export_encoder(encoder, folder, EncoderConfig.of(job.space(), encoder))


def passes(job: Job) -> float:
    """Forwards, and twice the backwards, that a step takes of one clip; 1 is a whole RGB clip."""
    space, catalogue = job.space(), load_catalogue()
    terms = Workbench.open(job.run()).terms
    model = MultiTaskModel(terms, catalogue, space, seed=0)
    settings, fps = ViewSettings.of(space), space.cache.fps

    def size(view: View) -> int:
        pieces = view.pieces if view.cells is None else view.cells.count
        return pieces * math.prod(input_shape(view, settings, fps))

    whole = size(View(Stream.RGB, space=CLEAN))
    return sum(size(v) * (3 if v.encoder == "student" else 1) for v in model.plan.forwards) / whole


def trial_of(job: Job, steps: int) -> TrialSpec:
    """The training of a job, its gradient scales measured."""
    run = job.run()
    job.folder.mkdir(parents=True, exist_ok=True)
    run = replace(run, scales=measure_run(run))
    weights = dict.fromkeys(run.scales, 1.0)
    return TrialSpec(0, weights, run, steps, folder=str(job.folder), log_every=1)


def hits(job: Job, encoder: Encoder) -> dict[str, Any]:
    """Which labelled videos each protocol gets right, by factor, in the order of the folds."""
    exported = VideoEncoder(encoder, EncoderConfig.of(job.space(), encoder))
    index = load_index(job.out / f"labelled-{job.seed}.parquet")
    loader, _ = open_clips(index.videos, exported.config, job.out / "cache", seed=0)
    x_ND = extract_features(exported, loader, range(len(index.videos)))
    found: dict[str, Any] = {}
    for factor in FACTORS:
        data = labelled(index.labels(factor), [video.group for video in index.videos])
        parts = folds(data.labels, data.groups, NUM_FOLDS, seed=0)
        order = np.concatenate([fold.test_idx for fold in parts])
        found[factor] = {"class": data.class_N[order].tolist()}
        for name in PROTOCOLS:
            judged = judge(FROZEN[name], x_ND, data.class_N, data.group_N, parts, 0)
            right = [
                metrics["accuracy"](np.array([row])) > 0
                for metrics, fold in zip(judged, parts, strict=True)
                for row in range(len(fold.test_idx))
            ]
            found[factor][name] = [int(hit) for hit in right]
    return found


def hits_untrained(job: Job) -> dict[str, Any]:
    """`hits` before any training: a seed's methods all begin at the same encoder."""
    file = job.out / "untrained" / f"{job.seed}.json"
    if not file.is_file():
        bench = Workbench.open(job.run())
        untrained = build_encoder(Stream.RGB, bench.space.backbone, job.seed or 0)
        calibrate(untrained, bench.data.train, bench.settings)
        write_json(file, hits(job, untrained))
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def run_job(job: Job) -> float:
    """Train, grade, and write the job's file; returns the seconds."""
    torch.set_num_threads(1)
    began = time.monotonic()
    cost = passes(job)
    spec = trial_of(job, job.steps or round(PASSES / cost))
    result = run_trial(spec)
    lines = (job.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    row: dict[str, Any] = {
        "steps": spec.steps,
        "passes": cost,
        "seconds": result.seconds,
        "fitness": result.fitness,
        "reason": result.reason,
        "indicators": dict(result.indicators),
        "loss": [json.loads(line)["loss"] for line in lines],
        "skipped": json.loads(lines[-1])["skipped"],
    }
    if job.seed is not None:
        row |= {"before": hits_untrained(job), "after": hits(job, load_trained(spec))}
    job.file.write_text(json.dumps(row), encoding="utf-8")
    return time.monotonic() - began


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
    ignored = ignores_of(TEACHERS_TASK)
    teachers = [
        Job(
            out / "teachers" / f"{seed}.json",
            TEACHERS_TASK,
            OPTIONS[TEACHERS_TASK],
            ignored,
            seed,
            width=TEACHERS_WIDTH,
        )
        for seed in range(options.seeds)
    ]
    jobs = [job for part in options.parts for job in jobs_of(part, out, options.seeds)]
    jobs = [job for job in jobs if job.task in options.methods and not job.file.is_file()]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(train_teacher, teachers))
        under_way = {pool.submit(run_job, job): job for job in jobs}
        for done, future in enumerate(as_completed(under_way), start=1):
            name = under_way[future].file.relative_to(out).with_suffix("")
            print(f"{done}/{len(jobs)} {name}: {future.result():.0f} s", flush=True)


if __name__ == "__main__":
    main()
