"""Rows about trials: what a warm worker loses between two of them, and whether it grows."""

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from evossl.cluster.run import run_list, run_trials
from evossl.cluster.session import ray_session
from evossl.config import Sampler, SearchSpace
from evossl.experiment.held_out import FEATURES
from evossl.experiment.trial import TrialResult, TrialSpec, run_trial
from evossl.io.spaces import load_space
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from perf.place import Place
from perf.row import Measured, Row

TRIAL_SECONDS = 20.0
WARM_STEPS, WARM_TRIALS = 12, 8
GROWING, SETTLED, SHORT = 200, 10, 2
BUSY_TRIALS, WORKERS = 40, 2
BUSY_STEPS = (30, 45, 60, 75)  # of the trials in turn


def _template(place: Place, name: str, space: SearchSpace | None = None) -> TrialSpec:
    """A trial of a space, the demo's by default, with equal weights."""
    run = place.run(space or load_space("tiny"), name)
    return TrialSpec(0, dict.fromkeys(run.scales, 1.0), run, steps=WARM_STEPS, log_every=1)


def warm_start(place: Place) -> Measured:
    """Between a trial's end and the next one's first step in a warm worker, in trials of 20 s.

    In a search on a local Ray: from the trial's last file, by way of the driver's tell, table and
    ask, and Tune, to the first step that the driver hears of, less that step.
    """
    template = _template(place, "warm")
    genotype = Genotype(dict.fromkeys(template.weights, (0.0, 1.0)), {})
    resources = load_space("tiny").resources.model_copy(update={"max_concurrent": 1})
    marks: dict[int, float] = {}

    def mark(done: int, total: int) -> None:
        marks.setdefault(done, time.time())

    with (
        tempfile.TemporaryDirectory() as folder,
        Study.create(Path(folder), genotype, Sampler(name="random"), 0) as study,
        ray_session(None, dashboard=False) as session,
    ):
        run_trials(
            study,
            replace(template, run=replace(template.run, folder=folder), log_every=WARM_STEPS),
            WARM_TRIALS,
            session,
            resources,
            on_steps=mark,
        )
        ended = [_ended(Path(folder) / "trials" / str(number)) for number in range(WARM_TRIALS)]
    told = []
    for number in range(1, WARM_TRIALS):
        first, last = (marks[number * WARM_STEPS + step] for step in (1, WARM_STEPS))
        step = (last - first) / (WARM_STEPS - 1)
        told.append(first - ended[number - 1] - step)
    return Measured([start / TRIAL_SECONDS for start in told], f"{median(told):.2f} s")


def growth(place: Place) -> Measured:
    """The most memory that one worker has held after 200 trials, and after 10."""
    torch.set_num_threads(1)
    template = replace(_template(place, "growth", place.demo_space("simclr")), steps=SHORT)
    peak = []
    for number in range(GROWING):
        run_trial(replace(template, number=number))
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    early, late = peak[SETTLED - 1], peak[-1]
    return Measured([late / early], f"{late / 1e3:.0f} MB and {early / 1e3:.0f} MB")


def busy(place: Place) -> Measured:
    """Share of two workers' time that goes into 40 trials of unequal length, on a local Ray."""
    template = _template(place, "busy", place.demo_space("simclr"))
    specs = [
        replace(
            template,
            number=number,
            steps=BUSY_STEPS[number * 7 % len(BUSY_STEPS)],
            log_every=10,
            folder=str(Path(template.run.folder) / "trials" / str(number)),
        )
        for number in range(BUSY_TRIALS)
    ]
    resources = load_space("tiny").resources.model_copy(update={"max_concurrent": WORKERS})
    with ray_session(None, dashboard=False) as session:
        results = run_list(specs, session, resources)
        ended = time.time()
    assert all(result.fitness is not None for result in results)
    took = ended - min(map(_began, specs, results))
    spent = sum(result.seconds for result in results)
    share = spent / (WORKERS * took)
    return Measured([share], f"{spent:.0f} s of trials in {took:.0f} s, from the first one's begin")


def _began(spec: TrialSpec, result: TrialResult) -> float:
    """When a trial began (time.time), by its last file: before, its worker starts."""
    return _ended(Path(str(spec.folder))) - result.seconds


def _ended(folder: Path) -> float:
    """When a trial ended, by its last file."""
    return (folder / FEATURES).stat().st_mtime


ROWS = (
    Row("warm-start", "a warm trial's start", "one trial of 20 s", 0.02, warm_start),
    Row(
        "busy", "busy share of 2 workers over 40 trials of unequal length", "1", 0.95, busy, "high"
    ),
    Row("growth", "peak resident memory after 200 trials in one worker", "after 10", 1.05, growth),
)
