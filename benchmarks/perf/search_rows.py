"""Rows about the study with 10,000 trials: ask and tell, and resuming."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from evossl.config import Sampler
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from perf.bench_folder import BenchFolder
from perf.measurement import NUM_REPEATS, Measurement, Row, seconds_per_call

NUM_WEIGHTS = 40
FEW_TRIALS, MANY_TRIALS = 100, 10_000
ASKS_PER_REPEAT = 20


def _genotype() -> Genotype:
    return Genotype({f"task{i}.rgb": (0.0, 1.0) for i in range(NUM_WEIGHTS)}, {})


def _run_trials(study: Study, num: int) -> None:
    """Ask for trials and report them; their fitness is a function of their weights."""
    for _ in range(num):
        proposal = study.ask()
        fitness = sum((weight - 0.3) ** 2 for weight in proposal.weights.values())
        study.tell(
            proposal.number,
            status="complete",
            fitness=fitness,
            reason=None,
            seconds=1.0,
            indicators={"rankme": 1.0, "kl_hard": 1.0},
        )


@contextmanager
def _finished_study(bench: BenchFolder, num: int) -> Iterator[Path]:
    """Yield a copy of a study with `num` finished trials, which is created once per folder."""
    folder = bench.folder / "studies" / str(num)
    if not folder.is_dir():
        beside = Path(tempfile.mkdtemp(dir=bench.folder))
        with Study.create(beside, _genotype(), Sampler(), seed=0) as study:
            _run_trials(study, num)
        folder.parent.mkdir(exist_ok=True)
        beside.rename(folder)
    copy = Path(tempfile.mkdtemp(dir=bench.folder))
    try:
        yield shutil.copytree(folder, copy / "study")
    finally:
        shutil.rmtree(copy)


def ask_and_tell(bench: BenchFolder) -> Measurement:
    """Return the time of ask and tell with many finished trials over that with few (CMA-ES)."""
    values, times = [], []
    with _finished_study(bench, FEW_TRIALS) as few, _finished_study(bench, MANY_TRIALS) as many:
        studies = Study.open(many), Study.open(few)
        for study in studies:
            _run_trials(study, 1)  # the first ask replays the finished trials
        for _ in range(NUM_REPEATS):
            took = [
                seconds_per_call(partial(_run_trials, study, ASKS_PER_REPEAT)) / ASKS_PER_REPEAT
                for study in studies
            ]
            values.append(took[0] / took[1])
            times.append(took)
        for study in studies:
            study.close()
    many_ms, few_ms = (1e3 * median(side) for side in zip(*times, strict=True))
    return Measurement(values, f"{many_ms:.2g} ms and {few_ms:.2g} ms")


def resume(bench: BenchFolder) -> Measurement:
    """Return the seconds from opening a study with many trials to its next proposal."""
    program = Path(__file__).with_name("study_resumer.py")
    values = []
    with _finished_study(bench, MANY_TRIALS) as folder:
        for _ in range(NUM_REPEATS):
            words = [sys.executable, "-W", "ignore", str(program), str(folder)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            values.append(float(done.stdout))
    return Measurement(values)


ROWS = (
    Row(
        "ask-and-tell",
        "ask and tell of a study with 10,000 finished trials, 40 weights",
        "with 100 finished trials",
        3.0,
        ask_and_tell,
    ),
    Row(
        "resume", "first proposal of a resumed search of 10,000 trials", "-", 5.0, resume, unit=" s"
    ),
)
