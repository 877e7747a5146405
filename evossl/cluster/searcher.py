"""A Tune Searcher over our Study: Tune asks it what to run and tells it what came of it.

Tune swallows what a searcher raises, and runs the trial again: so it is kept, and ends the run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ray.tune.search import Searcher

from evossl.errors import RunError, UserError
from evossl.experiment.trial import TrialResult, TrialSpec
from evossl.search.study import Proposal, Study
from evossl.search.table import TrialRow

MAX_DEATHS = 3  # tries that a trial has when its worker dies under it
DIED = f"its worker died {MAX_DEATHS} times, or could not start (out of memory?): see Ray's logs"


class StatelessSearcher(Searcher):
    """A searcher that Tune may pickle and save as it likes: its state lies elsewhere.

    Attributes:
        fault: what ends the run: a full disk, here or in a worker; None while all is well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: RunError | UserError | None = None

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return a trial to run under Tune's `trial_id`, None for "not now", or FINISHED."""
        raise NotImplementedError  # abstract

    def end(self, trial_id: str, result: TrialResult | None, *, cut: bool) -> None:
        """Take what came of a trial; None: its worker died too often; `cut` short at a rung."""
        raise NotImplementedError  # abstract

    def suggest(  # type: ignore[override] # Tune takes FINISHED too
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """Return the next trial's config as plain data, None for "not now", or FINISHED."""
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
        """Take the last that Tune has of a trial; `error`: its worker died too often."""
        last = {} if error or result is None else result
        if "fault" in last:
            self.fault = self.fault or RunError(last["fault"])
            return
        words = last.get("result", last.get("cut"))
        told = None if words is None else TrialResult(**json.loads(words))
        try:
            self.end(trial_id, told, cut="result" not in last)
        except (RunError, UserError) as fault:
            self.fault = self.fault or fault

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: a study holds a lock that no pickle can carry."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resume makes a new searcher over the reopened study."""


class StudySearcher(StatelessSearcher):
    """Hands out the study's proposals, no more at once than there are slots.

    Args:
        study: owns ask and tell.
        template: a trial spec of the run; number and weights are each proposal's.
        num_trials: that the study shall hold in the end.
        slots: how many may run at this moment.
        on_told: called with the row of each trial that ended.
    """

    def __init__(
        self,
        study: Study,
        template: TrialSpec,
        num_trials: int,
        slots: Callable[[], int],
        on_told: Callable[[TrialRow], None],
    ) -> None:
        super().__init__()
        self._study = study
        self._template = template
        self._num_trials = num_trials
        self._slots = slots
        self._on_told = on_told
        self._live: dict[str, Proposal] = {}

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return the study's next proposal while there is a slot for it."""
        if self._study.num_ended + len(self._live) >= self._num_trials:
            return str(Searcher.FINISHED) if not self._live else None
        if len(self._live) >= self._slots():
            return None
        proposal = self._study.ask()
        self._live[trial_id] = proposal
        return replace(self._template, number=proposal.number, weights=dict(proposal.weights))

    def end(self, trial_id: str, result: TrialResult | None, *, cut: bool) -> None:
        """Tell the study: a trial's own failure, or a worker that died too often, is `failed`."""
        number = self._live.pop(trial_id).number
        told = result or TrialResult(number, None, DIED, 0.0, {})
        row = self._study.tell(
            number,
            status="failed" if told.fitness is None else "pruned" if cut else "complete",
            fitness=told.fitness,
            reason=told.reason,
            seconds=told.seconds,
            indicators=told.indicators,
        )
        self._on_told(row)


class ListSearcher(StatelessSearcher):
    """Hands out given trials, once each, and keeps their results by their place in the list."""

    def __init__(self, specs: Sequence[TrialSpec], slots: Callable[[], int]) -> None:
        super().__init__()
        self.results: dict[int, TrialResult] = {}
        self._waiting = list(enumerate(specs))
        self._slots = slots
        self._live: dict[str, int] = {}

    def next_spec(self, trial_id: str) -> TrialSpec | str | None:
        """Return the next of the list while there is a slot for it."""
        if not self._waiting:
            return None if self._live else str(Searcher.FINISHED)
        if len(self._live) >= self._slots():
            return None
        index, spec = self._waiting.pop(0)
        self._live[trial_id] = index
        return spec

    def end(self, trial_id: str, result: TrialResult | None, *, cut: bool) -> None:
        """Keep the result; a trial whose worker died too often has none."""
        index = self._live.pop(trial_id)
        if result is not None:
            self.results[index] = result
