"""Rows about trials: what a warm worker loses between two of them, and whether it grows."""

import gc
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from many_tasks import resident

from evossl.cluster.run import run_list
from evossl.cluster.session import ray_session
from evossl.config import SearchSpace, load_space
from evossl.trial import TrialSpec, iterate_trial, run_trial
from perf.place import Place
from perf.row import Measured, Row

TRIAL_SECONDS = 20.0
WARM_STEPS = 12
GROWING, SETTLED, SHORT = 200, 10, 2
BUSY_TRIALS, WORKERS = 40, 2
BUSY_STEPS = (60, 90, 120, 150)  # of the trials in turn


def _template(place: Place, name: str, space: SearchSpace | None = None) -> TrialSpec:
    """A trial of a space, the demo's by default, with equal weights."""
    run = place.run(space or load_space("tiny"), name)
    return TrialSpec(0, dict.fromkeys(run.scales, 1.0), run, steps=WARM_STEPS, log_every=1)


def warm_start(place: Place) -> Measured:
    """Time before the first step of a warm worker's trial, in trials of 20 s."""
    torch.set_num_threads(1)
    template = _template(place, "warm")
    run_trial(template)
    values, told = [], []
    for number in range(1, 8):
        began = time.perf_counter()
        steps = iterate_trial(replace(template, number=number))
        times = [time.perf_counter() - began for _ in steps]
        step = median(later - sooner for sooner, later in pairwise(times))
        told.append(max(times[0] - step, 0.0))
        values.append(told[-1] / TRIAL_SECONDS)
    return Measured(values, f"{median(told):.2f} s")


def growth(place: Place) -> Measured:
    """Memory of one worker after 200 trials, and after 10."""
    torch.set_num_threads(1)
    template = replace(_template(place, "growth", place.demo_space("simclr")), steps=SHORT)
    held = []
    for number in range(GROWING):
        run_trial(replace(template, number=number))
        held.append(resident())
    gc.collect()
    early, late = (max(held[end - 10 : end]) for end in (2 * SETTLED, GROWING))
    return Measured([late / early], f"{late / 1e6:.0f} MB and {early / 1e6:.0f} MB")


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
    resources = load_space("tiny").resources
    with ray_session(None, dashboard=False) as session:
        results = run_list(specs, session, resources)
        took = time.time() - min(map(_began, specs))
    spent = sum(result.seconds for result in results)
    assert all(result.fitness is not None or result.reason for result in results)
    share = spent / (WORKERS * took)
    return Measured([share], f"{spent:.0f} s of trials in {took:.0f} s")


def _began(spec: TrialSpec) -> float:
    """When a trial's training began (time.time), by its history: before, its worker starts."""
    history = Path(str(spec.folder)) / "history.jsonl"
    *_, last = history.read_text(encoding="utf-8").splitlines()
    return history.stat().st_mtime - float(json.loads(last)["seconds"])


ROWS = (
    Row("warm-start", "a warm trial's start", "one trial of 20 s", 0.02, warm_start),
    Row(
        "busy", "busy share of 2 workers over 40 trials of unequal length", "1", 0.95, busy, "high"
    ),
    Row("growth", "peak memory after 200 trials in one worker", "after 10", 1.05, growth),
)
