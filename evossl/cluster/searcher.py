"""Tune searchers over our own state: Tune asks them for trials and reports what became of them.

Tune swallows what a searcher raises and runs the trial again. A fault is therefore stored in the
searcher, and `StopOnFault` raises it where it ends the run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ray.tune.search import Searcher

from evossl.errors import RunError, UserError
from evossl.experiment.trial_spec import TrialResult, TrialSpec
from evossl.search.completed_trials import TrialStatus
from evossl.search.proposal import Proposal
from evossl.search.study import Study
from evossl.search.table import TrialRow

MAX_ATTEMPTS = 3  # of a trial whose worker dies
WORKER_DIED = (
    f"its worker died {MAX_ATTEMPTS} times, or could not start (out of memory?); see Ray's logs"
)


class StatelessSearcher(Searcher):
    """A searcher that Tune may pickle at any time, because its state is stored elsewhere.

    Attributes:
        fault: the infrastructure fault that ends the run, such as a full disk; None if there is
            none. A trial's own failure is no fault but a result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: RunError | UserError | None = None

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return a trial to run under Tune's `trial_id`; None for "not now"; or FINISHED."""
        raise NotImplementedError  # abstract

    def finish(self, trial_id: str, result: TrialResult | None, *, pruned: bool) -> None:
        """Record the end of a trial.

        Args:
            trial_id: Tune's name of it.
            result: None if its worker died too often.
            pruned: the trial was stopped early at a rung.
        """
        raise NotImplementedError  # abstract

    def suggest(  # type: ignore[override] # Tune takes FINISHED too
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """Return the next trial's config as plain data; None for "not now"; or FINISHED."""
        if self.fault is not None:
            return None
        try:
            spec = self.next_spec(trial_id)
        except (RunError, UserError) as error:
            self.fault = error
            return None
        return {"trial": asdict(spec)} if isinstance(spec, TrialSpec) else spec

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take Tune's last report of a trial; `error` means that its worker died too often."""
        last = {} if error or result is None else result
        if "fault" in last:  # not reported to the study, so a resume runs the trial again
            self.fault = self.fault or RunError(last["fault"])
            return
        text = last.get("result", last.get("pruned"))
        found = None if text is None else TrialResult(**json.loads(text))
        try:
            self.finish(trial_id, found, pruned="result" not in last)
        except (RunError, UserError) as fault:
            self.fault = self.fault or fault

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: a study holds a lock that cannot be pickled."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a resume makes a new searcher over the reopened study."""


class StudySearcher(StatelessSearcher):
    """Runs the study's proposals, no more at a time than there are slots.

    Args:
        study: asked for trials, and told their results.
        template: what all trials share; number, weights and genes come from each proposal.
        num_trials: number of ended trials that the study shall hold.
        num_slots: returns how many trials may run at this moment.
        on_row: called with the row of each trial that has ended.
        sized: gives a trial the steps that it may train.
    """

    def __init__(
        self,
        study: Study,
        template: TrialSpec,
        num_trials: int,
        num_slots: Callable[[], int],
        on_row: Callable[[TrialRow], None],
        sized: Callable[[TrialSpec], TrialSpec] = lambda spec: spec,
    ) -> None:
        super().__init__()
        self._sized = sized
        self._study = study
        self._template = template
        self._num_trials = num_trials
        self._num_slots = num_slots
        self._on_row = on_row
        self._running: dict[str, Proposal] = {}

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return the study's next proposal if there is a free slot and the study has one."""
        if self._study.num_finished + len(self._running) >= self._num_trials:
            return str(Searcher.FINISHED) if not self._running else None
        if len(self._running) >= self._num_slots() or not self._study.can_ask():
            return None
        proposal = self._study.ask()
        self._running[trial_id] = proposal
        weights, genes = dict(proposal.weights), dict(proposal.genes)
        spec = replace(self._template, number=proposal.number, weights=weights, genes=genes)
        return self._sized(spec).inheriting(proposal.parent)

    def finish(self, trial_id: str, result: TrialResult | None, *, pruned: bool) -> None:
        """Report the result to the study; a worker that died too often is a failed trial."""
        number = self._running.pop(trial_id).number
        found = result or TrialResult(number, None, WORKER_DIED, 0.0, {})
        row = self._study.tell(
            number,
            status=trial_status(found, pruned),
            fitness=found.fitness,
            reason=found.reason,
            seconds=found.seconds,
            indicators=found.indicators,
        )
        self._on_row(row)


def trial_status(result: TrialResult, pruned: bool) -> TrialStatus:
    """Return the status of a trial that has ended; `pruned` if it was stopped early."""
    if result.fitness is not None:
        return "pruned" if pruned else "complete"
    return "at_chance" if result.at_chance else "failed"


class ListSearcher(StatelessSearcher):
    """Runs each trial of a list once.

    Attributes:
        results: {position in the list: result}; a trial whose worker died too often has none.
    """

    def __init__(self, specs: Sequence[TrialSpec], num_slots: Callable[[], int]) -> None:
        super().__init__()
        self.results: dict[int, TrialResult] = {}
        self._waiting = list(enumerate(specs))
        self._num_slots = num_slots
        self._running: dict[str, int] = {}

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return the next trial of the list if there is a free slot."""
        if not self._waiting:
            return None if self._running else str(Searcher.FINISHED)
        if len(self._running) >= self._num_slots():
            return None
        index, spec = self._waiting.pop(0)
        self._running[trial_id] = index
        return spec

    def finish(self, trial_id: str, result: TrialResult | None, *, pruned: bool) -> None:
        """Store the result."""
        index = self._running.pop(trial_id)
        if result is not None:
            self.results[index] = result
