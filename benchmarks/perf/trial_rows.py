"""Rows about trials: the time lost between them, busy workers, and memory growth."""

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from evossl.cluster.run import TrialsPlan, run_list, run_trials
from evossl.cluster.session import ray_session
from evossl.config import Sampler, SearchSpace
from evossl.experiment.context import RunContext
from evossl.experiment.held_out import FEATURES_FILE
from evossl.experiment.trial import run_trial
from evossl.experiment.trial_spec import TrialResult, TrialSpec
from evossl.io.spaces import load_space
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from perf.bench_folder import BenchFolder
from perf.measurement import Measurement, Row

TRIAL_SECONDS = 20.0
WARM_STEPS, WARM_TRIALS = 12, 8
GROWTH_TRIALS, GROWTH_WARM_UP_TRIALS, GROWTH_STEPS = 200, 10, 2
BUSY_TRIALS, BUSY_WORKERS = 40, 2
BUSY_STEPS = (30, 45, 60, 75)  # of the trials, in turn


def _template(bench: BenchFolder, name: str, space: SearchSpace | None = None) -> TrialSpec:
    """Return a trial of a space (by default the demo's) with equal weights."""
    run = bench.run_spec(space or load_space("tiny"), name)
    return TrialSpec(0, dict.fromkeys(run.gradient_scales, 1.0), run, steps=WARM_STEPS, log_every=1)


def warm_start(bench: BenchFolder) -> Measurement:
    """Return the time between two trials in a warm worker, in units of a trial of 20 s.

    It is measured in a search on a local Ray: from a trial's last file, through the driver's tell,
    table and ask and through Tune, to the first step reported to the driver, less that step.
    """
    template = _template(bench, "warm")
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
        template = replace(template, run=replace(template.run, folder=folder), log_every=WARM_STEPS)
        run_trials(study, TrialsPlan(template, WARM_TRIALS, resources), session, progress=mark)
        ended = [_end_of(Path(folder) / "trials" / str(number)) for number in range(WARM_TRIALS)]
    gaps = []
    for number in range(1, WARM_TRIALS):
        first, last = (marks[number * WARM_STEPS + step] for step in (1, WARM_STEPS))
        step = (last - first) / (WARM_STEPS - 1)
        gaps.append(first - ended[number - 1] - step)
    return Measurement([gap / TRIAL_SECONDS for gap in gaps], f"{median(gaps):.2f} s")


def growth(bench: BenchFolder) -> Measurement:
    """Return the peak memory of one worker after 200 trials over that after 10."""
    torch.set_num_threads(1)
    template = replace(_template(bench, "growth", bench.demo_space("simclr")), steps=GROWTH_STEPS)
    context = RunContext.open(template.run)
    peak = []
    for number in range(GROWTH_TRIALS):
        run_trial(replace(template, number=number), context)
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    early, late = peak[GROWTH_WARM_UP_TRIALS - 1], peak[-1]
    return Measurement([late / early], f"{late / 1e3:.0f} MB and {early / 1e3:.0f} MB")


def busy(bench: BenchFolder) -> Measurement:
    """Return the fraction of two workers' time that 40 trials of unequal length keep busy."""
    template = _template(bench, "busy", bench.demo_space("simclr"))
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
    resources = load_space("tiny").resources.model_copy(update={"max_concurrent": BUSY_WORKERS})
    with ray_session(None, dashboard=False) as session:
        results = run_list(specs, session, resources)
        ended = time.time()
    assert all(result.fitness is not None for result in results)
    took = ended - min(map(_begin_of, specs, results))
    spent = sum(result.seconds for result in results)
    share = spent / (BUSY_WORKERS * took)
    return Measurement(
        [share], f"{spent:.0f} s of trials in {took:.0f} s, from the start of the first"
    )


def _begin_of(spec: TrialSpec, result: TrialResult) -> float:
    """Return when a trial began (time.time): its worker had started by then."""
    return _end_of(Path(str(spec.folder))) - result.seconds


def _end_of(folder: Path) -> float:
    """Return when a trial ended, from the time of its last file."""
    return (folder / FEATURES_FILE).stat().st_mtime


ROWS = (
    Row("warm-start", "start of a trial in a warm worker", "a trial of 20 s", 0.02, warm_start),
    Row(
        "busy",
        "busy fraction of 2 workers over 40 trials of unequal length",
        "1",
        0.95,
        busy,
        "high",
    ),
    Row("growth", "peak resident memory after 200 trials in one worker", "after 10", 1.05, growth),
)
