"""Study: ask and tell over a journal in the run folder; the journal is the state.

A search killed at any line proposes, resumed, what it would have proposed: a sampler is a function
of (seed, trial number, finished trials in order of completion), and all three are in the journal.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from evossl import config
from evossl.errors import RunError, UserError
from evossl.search import record
from evossl.search.completed_trials import CompletedTrials, TrialStatus
from evossl.search.genotype import Genotype
from evossl.search.journal import JOURNAL, DriverLock, cut_torn_line, open_storage
from evossl.search.samplers import check_sampler, make_proposer
from evossl.search.table import TrialRow

EQUAL_WEIGHTS = "equal weights"
NOTHING_EVOLVES = "every weight of this space is fixed: trial 0 is the whole search"

_RESULT, _CONTROL = "result", "control"
_STATES = {
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}


@dataclass(frozen=True)
class Proposal:
    """What a trial is to train with: its number, and every weight by name, fixed ones too."""

    number: int
    weights: Mapping[str, float]


class Study:
    """Proposes loss weights and remembers what became of them. Use `create`, `open` or `resume`.

    One process at a time: the folder is locked until `close` (or the process's death). Close it
    after use, or use it in a `with` statement.
    """

    def __init__(
        self, folder: Path, lock: DriverLock, expected: record.Description | None = None
    ) -> None:
        self._lock = lock
        self._storage = open_storage(folder / JOURNAL)
        self._study_id, attributes = record.only_study(folder, self._storage)
        self.genotype, self.sampler, self.seed = there = record.describe(folder, attributes)
        if expected is not None:
            record.refuse_another(folder, there, expected)
        cut_torn_line(folder / JOURNAL)
        self._kinds = {n: FloatDistribution(*pair) for n, pair in self.genotype.bounds.items()}
        self._propose = make_proposer(self.sampler, self.seed, self.genotype)
        self._finished = CompletedTrials(self.genotype.bounds)
        self._rows: list[TrialRow] = []
        self._controls: list[TrialRow] = []
        self._to_run_again: list[int] = []
        self._load(attributes)

    @classmethod
    def create(
        cls, folder: Path, genotype: Genotype, sampler: config.Sampler, seed: int
    ) -> "Study":
        """Start a search in `folder` (made if it is not there).

        Raises:
            UserError: a search is there already, or another process drives it; a population the
                sampler cannot have; a negative seed.
            RunError: the folder cannot be written.
        """
        check_sampler(sampler)
        if seed < 0:
            raise UserError(f"--seed {seed}: a seed is 0 or more")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be made ({error})") from error
        lock = DriverLock(folder)
        try:
            if (folder / JOURNAL).exists():
                raise UserError(
                    f"{folder}: a search is here already; continue it with --resume, or choose "
                    "another --out"
                )
            record.begin(folder, genotype, sampler, seed)
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, folder: Path) -> "Study":
        """Continue the search in `folder` as it is.

        Raises:
            UserError: there is none, or another process drives it.
            RunError: its journal is damaged before its last line.
        """
        return cls._continue(folder, None)

    @classmethod
    def resume(
        cls, folder: Path, genotype: Genotype, sampler: config.Sampler, seed: int
    ) -> "Study":
        """Continue the search in `folder`, which must be the one described.

        Raises:
            UserError: as `open`; or genotype, sampler or seed differ: it says what differs.
            RunError: as `open`.
        """
        return cls._continue(folder, (genotype, sampler, seed))

    @classmethod
    def _continue(cls, folder: Path, expected: record.Description | None) -> "Study":
        if not (folder / JOURNAL).is_file():
            raise UserError(f"{folder}: no search to resume ({JOURNAL} is not there)")
        lock = DriverLock(folder)
        try:
            return cls(folder, lock, expected)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Let another process drive the run."""
        self._lock.release()

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self) -> Proposal:
        """Return the next trial to run; it is `running` until told.

        First what was running when the search was interrupted (same number, same weights) and
        what was abandoned, then new ones: `Genotype.start`, and what the sampler proposes.

        Raises:
            UserError: nothing evolves and trial 0 has been asked for (see `genotype.evolves`).
            RunError: the journal cannot be written.
        """
        if self._to_run_again:
            row = self._rows[heapq.heappop(self._to_run_again)]
            return Proposal(row.trial, row.weights)
        number = len(self._rows)
        if number and not self.genotype.evolves:
            raise UserError(NOTHING_EVOLVES)
        evolving = self.genotype.start(number)
        if evolving is None:
            evolving = self._propose(self._finished.study(), number)
        trial = create_trial(
            state=TrialState.RUNNING, params=evolving, distributions=dict(self._kinds)
        )
        # One line, so that no kill leaves a trial without its weights.
        self._storage.create_new_trial(self._study_id, template_trial=trial)
        self._rows.append(self._running(number, evolving))
        return Proposal(number, self._rows[-1].weights)

    def tell(
        self,
        number: int,
        *,
        status: TrialStatus,
        fitness: float | None,
        reason: str | None,
        seconds: float,
        indicators: Mapping[str, float],
    ) -> TrialRow:
        """Record what became of a running trial, and return its row.

        A trial that is complete or pruned without a finite fitness becomes `failed`. Samplers see
        pruned trials as worse than every complete one, failed ones as worse than every other.
        An infrastructure fault is not told: `abandon` it.

        Raises:
            UserError: the trial is not running (told twice, never asked for).
            RunError: the journal cannot be written; the trial is still running.
        """
        self._check_running(number)
        told = record.result(status, fitness, reason, seconds, indicators)
        told["order"] = len(self._finished)
        trial_id = self._trial_id(number)
        # The result is one line and counts from then on: `_load` finishes a trial that has one.
        self._storage.set_trial_user_attr(trial_id, _RESULT, told)
        self._finish(trial_id, told)
        self._settle(number, told)
        if number in self._to_run_again:  # abandoned, but it came back
            self._to_run_again.remove(number)
            heapq.heapify(self._to_run_again)
        return self._rows[number]

    def abandon(self, number: int) -> None:
        """Have a running trial asked again, same number and weights (its worker died).

        Raises:
            UserError: the trial is not running.
        """
        self._check_running(number)
        if number not in self._to_run_again:
            heapq.heappush(self._to_run_again, number)

    def add_control(
        self,
        name: str,
        fitness: float | None,
        reason: str | None,
        indicators: Mapping[str, float],
        seconds: float,
    ) -> TrialRow:
        """Add a row that evolution must beat (random init, noise), and return it.

        Raises:
            RunError: the journal cannot be written.
        """
        told = record.result("complete", fitness, reason, seconds, indicators)
        control = {"name": name, "fitness": told["fitness"], "seconds": told["seconds"]}
        control |= {"reason": told["reason"], "indicators": told["indicators"]}
        key = f"{_CONTROL}{-1 - len(self._controls)}"
        self._storage.set_study_user_attr(self._study_id, key, control)
        self._controls.append(_control(key, control))
        return self._controls[-1]

    def rows(self) -> list[TrialRow]:
        """Return all rows: controls -1, -2, ..., then trials 0, 1, ..."""
        return [*self._controls, *self._rows]

    def best(self, k: int) -> list[TrialRow]:
        """Return the k complete trials of lowest fitness (fewer if there are fewer), best first."""
        complete = [row for row in self._rows if row.status == "complete"]
        return heapq.nsmallest(k, complete, key=lambda row: (row.fitness, row.trial))

    @property
    def num_ended(self) -> int:
        """How many trials have been told."""
        return len(self._finished)

    def counts(self) -> dict[str, int]:
        """Return the number of rows by status; all five are there."""
        zero = dict.fromkeys(("complete", "failed", "pruned", "running", "control"), 0)
        return zero | Counter(row.status for row in self.rows())

    def _running(self, number: int, evolving: Mapping[str, float]) -> TrialRow:
        return TrialRow(
            number, self._name(number), "running", weights=self.genotype.complete(evolving)
        )

    def _name(self, number: int) -> str:
        """The name of a trial that is known beforehand."""
        if number == 0:
            return EQUAL_WEIGHTS
        if number > len(self.genotype.single_task_sets):
            return ""
        tasks = {term.partition(".")[0] for term in self.genotype.single_task_sets[number - 1]}
        return f"{', '.join(sorted(tasks))} alone"

    def _check_running(self, number: int) -> None:
        if not 0 <= number < len(self._rows):
            raise UserError(f"trial {number} was never asked for")
        if self._rows[number].status != "running":
            raise UserError(f"trial {number} is {self._rows[number].status}: told already")

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _finish(self, trial_id: int, told: Mapping[str, Any]) -> None:
        values = None if told["fitness"] is None else [told["fitness"]]
        self._storage.set_trial_state_values(trial_id, _STATES[told["status"]], values)

    def _settle(self, number: int, told: Mapping[str, Any]) -> None:
        """Show a told trial to samplers and in the table."""
        row = self._rows[number]
        evolving = {name: row.weights[name] for name in self._kinds}
        self._finished.add(evolving, told["status"], told["fitness"])
        shown = {k: told[k] for k in ("status", "fitness", "reason", "seconds", "indicators")}
        self._rows[number] = replace(row, completed=told["order"], **shown)

    def _load(self, attributes: Mapping[str, Any]) -> None:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self._rows = [self._running(trial.number, trial.params) for trial in trials]
        told = [trial for trial in trials if _RESULT in trial.user_attrs]
        for trial in sorted(told, key=lambda trial: trial.user_attrs[_RESULT]["order"]):
            if trial.state == TrialState.RUNNING:  # killed between the two lines of `tell`
                self._finish(trial._trial_id, trial.user_attrs[_RESULT])
            self._settle(trial.number, trial.user_attrs[_RESULT])
        self._to_run_again = [row.trial for row in self._rows if row.status == "running"]
        keys = [key for key in attributes if key.startswith(_CONTROL)]
        ordered = sorted(keys, key=lambda key: -int(key.removeprefix(_CONTROL)))
        self._controls = [_control(key, attributes[key]) for key in ordered]


def _control(key: str, told: Mapping[str, Any]) -> TrialRow:
    return TrialRow(trial=int(key.removeprefix(_CONTROL)), status="control", **told)
