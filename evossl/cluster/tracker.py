"""Keeps the trials table, the metrics and the checkpoints of a run up to date with its study."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ray.util.metrics import Gauge

from evossl.search.study import Study
from evossl.search.table import TrialRow, write_table

MAX_TABLE_TIME_SHARE = 0.05
"""Share of the driver's time that writing the trials table may take.

The table of thousands of trials takes long to write, and the driver of thousands of workers has
other work.
"""


class TrialTracker:
    """Updates `trials.parquet`, Ray's metrics and the checkpoints whenever a trial ends.

    Args:
        study: the study that the trials belong to.
        folder: the run folder.
        num_best: number of best trials that keep their checkpoints; the last one keeps its own too,
            and so do all trials that a running or later trial may inherit from.
        on_row: called with the row of each trial that has ended, or None.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        num_best: int = 1,
        on_row: Callable[[TrialRow], None] | None = None,
    ) -> None:
        self._study = study
        self._folder = folder
        self._num_best = num_best
        self._on_row = on_row
        self._best_fitness = Gauge("evossl_best_fitness_nats", "Lowest fitness of the search.")
        self._num_trials = Gauge("evossl_trials", "Trials by status.", tag_keys=("status",))
        self._with_checkpoint = {row.trial for row in study.rows() if row.completed is not None}
        self._next_write = 0.0

    def record(self, row: TrialRow) -> None:
        """Record that a trial has ended."""
        best = self._study.best(self._num_best)
        if best and best[0].fitness is not None:
            self._best_fitness.set(best[0].fitness)
        self._with_checkpoint.add(row.trial)
        parents = {r.parent for r in best if r.parent is not None}  # a re-run starts from them
        needed = {*(r.trial for r in best), *parents, *self._study.inheritable()}
        self._delete_checkpoints_except({*needed, row.trial})
        if time.monotonic() >= self._next_write:
            self._write()
        if self._on_row:
            self._on_row(row)

    def close(self) -> None:
        """Write the table a last time."""
        self._write()

    def _write(self) -> None:
        """Write table and metrics, and put off the next time in proportion to what this took."""
        began = time.monotonic()
        write_table(self._folder / "trials.parquet", self._study.rows())
        for status, count in self._study.counts().items():
            self._num_trials.set(count, tags={"status": status})
        ended = time.monotonic()
        self._next_write = ended + (ended - began) / MAX_TABLE_TIME_SHARE

    def _delete_checkpoints_except(self, numbers: set[int]) -> None:
        for number in self._with_checkpoint - numbers:
            folder = self._folder / "trials" / str(number)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        self._with_checkpoint &= numbers
