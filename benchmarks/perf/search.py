"""Rows about the search: the study at 10,000 trials, and workers that are kept busy."""

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
from perf.place import Place
from perf.row import REPEATS, Measured, Row, seconds

WEIGHTS = 40
FEW, MANY = 100, 10_000
ASKS = 20  # in a repeat


def _genotype() -> Genotype:
    return Genotype({f"task{i}.rgb": (0.0, 1.0) for i in range(WEIGHTS)}, {})


def _take(study: Study, num: int) -> None:
    """Ask for trials and tell them, their fitness a function of their weights."""
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
def _studies(place: Place, num: int) -> Iterator[Path]:
    """A folder with a study of so many finished trials, made once a bench."""
    folder = place.folder / "studies" / str(num)
    if not folder.is_dir():
        beside = Path(tempfile.mkdtemp(dir=place.folder))
        with Study.create(beside, _genotype(), Sampler(), seed=0) as study:
            _take(study, num)
        folder.parent.mkdir(exist_ok=True)
        beside.rename(folder)
    copy = Path(tempfile.mkdtemp(dir=place.folder))
    try:
        yield shutil.copytree(folder, copy / "study")
    finally:
        shutil.rmtree(copy)


def ask_and_tell(place: Place) -> Measured:
    """Ask and tell with many finished trials, and with few; CMA-ES over 40 weights."""
    values, told = [], []
    with _studies(place, FEW) as few, _studies(place, MANY) as many:
        studies = Study.open(many), Study.open(few)
        for study in studies:
            _take(study, 1)  # the first replays what is there
        for _ in range(REPEATS):
            took = [seconds(partial(_take, study, ASKS)) / ASKS for study in studies]
            values.append(took[0] / took[1])
            told.append(took)
        for study in studies:
            study.close()
    many_ms, few_ms = (1e3 * median(side) for side in zip(*told, strict=True))
    return Measured(values, f"{many_ms:.2g} ms and {few_ms:.2g} ms")


def resume(place: Place) -> Measured:
    """Seconds from opening a study of many trials to its next proposal, in a new process each."""
    program = Path(__file__).with_name("resumer.py")
    values = []
    with _studies(place, MANY) as folder:
        for _ in range(REPEATS):
            words = [sys.executable, "-W", "ignore", str(program), str(folder)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            values.append(float(done.stdout))
    return Measured(values)


ROWS = (
    Row(
        "ask-and-tell",
        "Study ask and tell at 10,000 finished trials, 40 weights",
        "at 100 finished trials",
        3.0,
        ask_and_tell,
    ),
    Row("resume", "resume of 10,000 trials: first suggestion after", "-", 5.0, resume, unit=" s"),
)
