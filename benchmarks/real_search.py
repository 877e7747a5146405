"""A small search on a local Ray, which simulate_cluster.py compares with its simulation."""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from perf.bench_folder import BenchFolder

from evossl.cluster.run import TrialsPlan, run_trials
from evossl.cluster.session import ray_session
from evossl.config import Resources, Sampler
from evossl.experiment.trial_spec import TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.study import Study

CHECKED_WORKERS = (2, 4)
NUM_TRIALS, NUM_STEPS = 24, 40
RARE_LOGGING, FREQUENT_LOGGING = 40, 2  # steps between logged ones; the first is logged too


@dataclass(frozen=True)
class RealSearch:
    """A search that was run on this machine.

    Attributes:
        took: seconds of the search.
        start: seconds until the first logged step: the start of Tune and of the workers.
        trials: seconds of each trial.
        driver: CPU seconds of the driver.
    """

    took: float
    start: float
    trials: list[float]
    driver: float


def search(bench: BenchFolder, workers: int, log_every: int) -> RealSearch:
    """Run a real search of small trials."""
    bench.prepare()
    run = bench.run_spec(bench.demo_space("simclr", "arrow_of_time"), f"check-{workers}")
    genotype = Genotype(dict.fromkeys(sorted(run.gradient_scales), (0.0, 1.0)), {})
    resources = Resources(cpus=CHECKED_WORKERS[0] / workers, max_concurrent=workers)
    marks: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Study.create(Path(folder), genotype, Sampler(name="random"), 0) as study,
        ray_session(None, dashboard=False) as session,
    ):
        run = replace(run, folder=folder)
        template = TrialSpec(0, {}, run, NUM_STEPS, log_every=log_every)
        began, spent = time.monotonic(), time.process_time()
        run_trials(
            study,
            TrialsPlan(template, NUM_TRIALS, resources),
            session,
            progress=lambda *_: marks.append(time.monotonic()),
        )
        took, driver = time.monotonic() - began, time.process_time() - spent
        seconds = [row.seconds or 0.0 for row in study.rows()]
    return RealSearch(took, marks[0] - began, seconds, driver)
