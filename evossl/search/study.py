"""Study: proposes trials and stores their results in a journal in the run folder.

The journal is the only state. A search that is killed at any point and resumed makes the same
proposals as an uninterrupted one: a proposal depends only on the seed, the trial number and the
finished trials in order of completion, and the journal holds all three.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from optuna.trial import TrialState, create_trial

from evossl import config
from evossl.errors import RunError, UserError
from evossl.genes import GeneValue
from evossl.search.completed_trials import CompletedTrials, TrialStatus, rank_value
from evossl.search.genotype import Genotype
from evossl.search.journal import JOURNAL, DriverLock, cut_torn_line, open_storage
from evossl.search.journal_records import (
    CONTROL_PREFIX,
    OPTUNA_STATES,
    SearchSettings,
    check_same_settings,
    control_row,
    create_journal,
    read_settings,
    read_study,
    result_record,
)
from evossl.search.proposal import Proposal
from evossl.search.samplers import check_sampler, make_population, make_proposer
from evossl.search.table import ControlKind, Status, TrialRow
from evossl.search.unit_box import distributions

NOTHING_EVOLVES = (
    "every weight of this space is fixed and no key has a range, so trial 0 is the whole search"
)

_RESULT_KEY, _PARENT_KEY = "result", "parent"


class Study:
    """Proposes loss weights and stores the results. Use `create`, `open` or `resume`.

    Only one process at a time can open a study: its folder stays locked until `close` is called
    or the process dies. Use it in a `with` statement, or close it after use.
    """

    def __init__(
        self, folder: Path, lock: DriverLock, expected: SearchSettings | None = None
    ) -> None:
        self._lock = lock
        self._storage = open_storage(folder / JOURNAL)
        self._study_id, attributes = read_study(folder, self._storage)
        settings = read_settings(folder, attributes)
        if expected is not None:
            check_same_settings(folder, settings, expected)
        cut_torn_line(folder / JOURNAL)
        self.genotype, self.sampler = settings.genotype, settings.sampler
        self.seed = settings.seed
        self._distributions = distributions(self.genotype.bounds, self.genotype.genes)
        self._propose = make_proposer(self.sampler, self.seed, self.genotype)
        self._population = make_population(self.sampler, self.seed, self.genotype)
        self._finished = CompletedTrials(self.genotype.bounds, self.genotype.genes)
        self._rows: list[TrialRow] = []
        self._controls: list[TrialRow] = []
        self._to_rerun: list[int] = []
        self._load(attributes)

    @classmethod
    def create(
        cls, folder: Path, genotype: Genotype, sampler: config.Sampler, seed: int
    ) -> "Study":
        """Start a search in `folder`, which is created if necessary.

        Raises:
            UserError: the folder has a search already, another process drives it, the sampler
                cannot have this population, or the seed is negative.
            RunError: the folder cannot be written.
        """
        check_sampler(sampler, genotype)
        if seed < 0:
            raise UserError(f"--seed {seed}: must be 0 or more")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be created ({error})") from error
        lock = DriverLock(folder)
        try:
            if (folder / JOURNAL).exists():
                raise UserError(
                    f"{folder}: already has a search; continue it with --resume, or choose another "
                    "--out"
                )
            create_journal(folder, SearchSettings(genotype, sampler, seed))
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, folder: Path) -> "Study":
        """Continue the search in `folder`, whatever its settings.

        Raises:
            UserError: the folder has no search, or another process drives it.
            RunError: the journal is damaged before its last line.
        """
        return cls._continue(folder, None)

    @classmethod
    def resume(
        cls, folder: Path, genotype: Genotype, sampler: config.Sampler, seed: int
    ) -> "Study":
        """Continue the search in `folder`, which must have these settings.

        Raises:
            UserError: as in `open`; or the genotype, sampler or seed differs.
            RunError: as in `open`.
        """
        return cls._continue(folder, SearchSettings(genotype, sampler, seed))

    @classmethod
    def _continue(cls, folder: Path, expected: SearchSettings | None) -> "Study":
        if not (folder / JOURNAL).is_file():
            raise UserError(f"{folder}: has no search to resume ({JOURNAL} does not exist)")
        lock = DriverLock(folder)
        try:
            return cls(folder, lock, expected)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Release the folder, so that another process can drive the run."""
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

    def can_ask(self) -> bool:
        """Return whether `ask` has a trial now; with pbt, not while every member is running."""
        population, number = self._population, len(self._rows)
        return population is None or bool(self._to_rerun) or population.can_continue(number)

    def ask(self) -> Proposal:
        """Return the next trial to run; its status is `running` until `tell` stores its result.

        Trials that were running when the search was interrupted, or that were abandoned, come
        first, with the same number and values. Then come the initial trials of the genotype, and
        then those that the sampler proposes.

        Raises:
            UserError: nothing evolves, and trial 0 has been returned already.
            RunError: the journal cannot be written.
        """
        assert self.can_ask(), "every member of the population is running"
        if self._to_rerun:
            row = self._rows[heapq.heappop(self._to_rerun)]
            return Proposal(row.trial, row.weights, row.genes, row.parent)
        number = len(self._rows)
        if number and not self.genotype.evolves:
            raise UserError(NOTHING_EVOLVES)
        evolving, parent = self.genotype.initial_values(number), None
        if evolving is None and self._population is not None:
            evolving, parent = self._population.propose(number)
        elif evolving is None:
            evolving = self._propose(self._finished.study(), number)
        trial = create_trial(
            state=TrialState.RUNNING,
            params=evolving,
            distributions=dict(self._distributions),
            user_attrs={} if parent is None else {_PARENT_KEY: parent},
        )
        # This is one line of the journal, so that no kill leaves a trial without its weights.
        self._storage.create_new_trial(self._study_id, template_trial=trial)
        self._rows.append(self._running_row(number, evolving, parent))
        row = self._rows[-1]
        return Proposal(number, row.weights, row.genes, parent)

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
        """Store the result of a running trial, and return its row.

        A trial that is complete or pruned without a finite fitness becomes `failed`. Samplers rank
        pruned trials below all complete ones, then trials at chance, then failed ones. After an
        infrastructure fault, call `abandon` instead.

        Raises:
            UserError: the trial is not running.
            RunError: the journal cannot be written; the trial is still running.
        """
        self._check_running(number)
        result = result_record(status, fitness, reason, seconds, indicators)
        result["order"] = len(self._finished)
        trial_id = self._trial_id(number)
        # The result counts once this line is written: `_load` sets the state of such a trial.
        self._storage.set_trial_user_attr(trial_id, _RESULT_KEY, result)
        self._set_state(trial_id, result)
        self._add_result(number, result)
        if number in self._to_rerun:  # its worker came back
            self._to_rerun.remove(number)
            heapq.heapify(self._to_rerun)
        return self._rows[number]

    def abandon(self, number: int) -> None:
        """Let `ask` return a running trial once more, because its worker died.

        Raises:
            UserError: the trial is not running.
        """
        self._check_running(number)
        if number not in self._to_rerun:
            heapq.heappush(self._to_rerun, number)

    def add_control(
        self,
        kind: ControlKind,
        name: str,
        fitness: float | None,
        reason: str | None,
        indicators: Mapping[str, float],
        seconds: float,
    ) -> TrialRow:
        """Add the row of a control, a baseline that the winner must beat, and return it.

        Raises:
            RunError: the journal cannot be written.
        """
        status: TrialStatus = "failed" if fitness is None else "complete"
        result = result_record(status, fitness, reason, seconds, indicators)
        del result["status"]
        control = {"kind": kind, "name": name} | result
        key = f"{CONTROL_PREFIX}{-1 - len(self._controls)}"
        self._storage.set_study_user_attr(self._study_id, key, control)
        self._controls.append(control_row(key, control))
        return self._controls[-1]

    def rows(self) -> list[TrialRow]:
        """Return all rows: the controls -1, -2, ..., then the trials 0, 1, ..."""
        return [*self._controls, *self._rows]

    def best(self, k: int) -> list[TrialRow]:
        """Return the k best trials, best first; fewer if there are fewer.

        Complete trials come first, by fitness. Trials at chance follow in the order of their
        numbers, so that equal weights come first if all trials are at chance.
        """
        ranked = [row for row in self._rows if row.status in ("complete", "at_chance")]
        return heapq.nsmallest(
            k, ranked, key=lambda row: (row.status == "at_chance", row.fitness or 0.0, row.trial)
        )

    @property
    def num_finished(self) -> int:
        """Number of trials that have a result."""
        return len(self._finished)

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each status."""
        zero = dict.fromkeys(get_args(Status), 0)
        return zero | Counter(row.status for row in self.rows())

    def inheritable(self) -> set[int]:
        """Return the trials whose checkpoints a running or later trial may need; or nothing."""
        if self._population is None:
            return set()
        parents = {row.parent for row in self._rows if row.status == "running"}
        return {*self._population.living(), *(n for n in parents if n is not None)}

    def _running_row(
        self, number: int, evolving: Mapping[str, GeneValue], parent: int | None
    ) -> TrialRow:
        name, weights = self.genotype.trial_name(number), self.genotype.complete(evolving)
        genes = self.genotype.gene_values(evolving)
        return TrialRow(number, name, "running", weights=weights, genes=genes, parent=parent)

    def _check_running(self, number: int) -> None:
        if not 0 <= number < len(self._rows):
            raise UserError(f"trial {number} does not exist")
        if self._rows[number].status != "running":
            raise UserError(
                f"trial {number} is {self._rows[number].status}: it has a result already"
            )

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _set_state(self, trial_id: int, result: Mapping[str, Any]) -> None:
        values = None if result["fitness"] is None else [result["fitness"]]
        self._storage.set_trial_state_values(trial_id, OPTUNA_STATES[result["status"]], values)

    def _add_result(self, number: int, result: Mapping[str, Any]) -> None:
        """Add a result to the samplers' history and to the table."""
        row = self._rows[number]
        values = {**row.weights, **row.genes}
        evolving = {name: values[name] for name in self._distributions}
        status, fitness = result["status"], result["fitness"]
        self._finished.add(evolving, status, fitness)
        if self._population is not None:
            self._population.add(number, row.parent, evolving, rank_value(status, fitness))
        columns = {k: result[k] for k in ("status", "fitness", "reason", "seconds", "indicators")}
        self._rows[number] = replace(row, completed=result["order"], **columns)

    def _load(self, attributes: Mapping[str, Any]) -> None:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self._rows = [
            self._running_row(trial.number, trial.params, trial.user_attrs.get(_PARENT_KEY))
            for trial in trials
        ]
        finished = [trial for trial in trials if _RESULT_KEY in trial.user_attrs]
        for trial in sorted(finished, key=lambda trial: trial.user_attrs[_RESULT_KEY]["order"]):
            if trial.state == TrialState.RUNNING:  # killed between the two lines of `tell`
                self._set_state(trial._trial_id, trial.user_attrs[_RESULT_KEY])
            self._add_result(trial.number, trial.user_attrs[_RESULT_KEY])
        self._to_rerun = [row.trial for row in self._rows if row.status == "running"]
        keys = [key for key in attributes if key.startswith(CONTROL_PREFIX)]
        ordered = sorted(keys, key=lambda key: -int(key.removeprefix(CONTROL_PREFIX)))
        self._controls = [control_row(key, attributes[key]) for key in ordered]
