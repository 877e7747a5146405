"""A search in its own process that kills itself with SIGKILL at a given point.

    python -m tests.helpers.killable_search RUN SAMPLER TRIALS IN_FLIGHT KILL

KILL is "never", or a point and a trial: "asked:7", "told:13", "halfway:13" (between the two lines
that `tell` writes) or "torn:13" (in the middle of the first). Each started trial adds a line to
RUN/../started.
"""

import heapq
import os
import signal
import sys
from pathlib import Path

import numpy as np

from evossl import config
from evossl.search.journal import JOURNAL
from evossl.search.proposal import Proposal
from evossl.search.study import Study
from tests.helpers.search_loops import GENOTYPE, tell


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_tell(study: Study, folder: Path, where: str) -> None:
    """Kill the process in the next `tell`, after or within its first line."""

    def halfway(*_: object) -> None:
        if where == "torn":
            journal = folder / JOURNAL
            *_, result = journal.read_bytes().splitlines(keepends=True)
            os.truncate(journal, journal.stat().st_size - len(result) // 2)
        _die()

    study._set_state = halfway  # type: ignore[method-assign]


def run_search(
    folder: Path, name: str, num_trials: int, num_in_flight: int, kill: str, seed: int = 5
) -> None:
    """Start or resume a search, and run it to its end unless it is killed."""
    sampler = config.Sampler.model_validate({"name": name})
    begin = Study.resume if folder.exists() else Study.create
    with begin(folder, GENOTYPE, sampler, seed) as study:
        _drive(study, folder, num_trials, num_in_flight, kill)


def _drive(study: Study, folder: Path, num_trials: int, num_in_flight: int, kill: str) -> None:
    where, _, number = kill.partition(":")
    in_flight: list[tuple[float, Proposal]] = []
    now = 0.0
    while True:
        counts = study.counts()
        left = num_trials - counts["complete"] - counts["failed"] - len(in_flight)
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
            _kill_in_tell(study, folder, where)
        tell(study, proposal)
        if kill == f"told:{proposal.number}":
            _die()


if __name__ == "__main__":
    run, sampler_name, trials, at_once, kill_point = sys.argv[1:]
    run_search(Path(run), sampler_name, int(trials), int(at_once), kill_point)
