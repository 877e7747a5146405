"""A search in a process of its own that kills itself (SIGKILL) at a given point.

    python driven_search.py RUN SAMPLER TRIALS IN_FLIGHT KILL

KILL is "never", or where and at which trial: "asked:7", "told:13", "halfway:13" (between the two
lines of a tell), "torn:13" (in the middle of the first). RUN/../started has a line a trial started.
"""

import heapq
import os
import signal
import sys
from pathlib import Path

import numpy as np

from evossl import config
from evossl.search.journal import JOURNAL
from evossl.search.study import Proposal, Study
from tests.helpers.search_loops import GENOTYPE, tell


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(study: Study, folder: Path, where: str) -> None:
    """Make the next tell die where it is asked to."""

    def halfway(*_: object) -> None:
        if where == "torn":
            journal = folder / JOURNAL
            *_, result = journal.read_bytes().splitlines(keepends=True)
            os.truncate(journal, journal.stat().st_size - len(result) // 2)
        _die()

    study._finish = halfway  # type: ignore[method-assign]


def search(
    folder: Path, name: str, num_trials: int, num_in_flight: int, kill: str, seed: int = 5
) -> None:
    sampler = config.Sampler.model_validate({"name": name})
    begin = Study.resume if folder.exists() else Study.create
    with begin(folder, GENOTYPE, sampler, seed) as study:
        _drive(study, folder, num_trials, num_in_flight, kill)


def _drive(study: Study, folder: Path, num_trials: int, num_in_flight: int, kill: str) -> None:
    where, _, number = kill.partition(":")
    in_flight: list[tuple[float, Proposal]] = []
    now = 0.0
    while True:
        told = study.counts()
        left = num_trials - told["complete"] - told["failed"] - len(in_flight)
        if not left and not in_flight:
            return
        if left and len(in_flight) < num_in_flight:
            proposal = study.ask()
            with (folder.parent / "started").open("a") as started:
                started.write(f"{proposal.number}\n")
            if kill == f"asked:{proposal.number}":
                _die()
            duration = float(np.random.default_rng([9, study.seed, proposal.number]).lognormal())
            heapq.heappush(in_flight, (now + duration, proposal))
            continue
        now, proposal = heapq.heappop(in_flight)
        if where in ("halfway", "torn") and proposal.number == int(number):
            _arm(study, folder, where)
        tell(study, proposal)
        if kill == f"told:{proposal.number}":
            _die()


if __name__ == "__main__":
    run, sampler_name, trials, at_once, kill_point = sys.argv[1:]
    search(Path(run), sampler_name, int(trials), int(at_once), kill_point)
