"""Tune callbacks: progress over all steps of a search, and the end of a run after a fault.

Tune pickles its callbacks. Neither of them can be restored from a pickle, and none needs to be.
"""

from collections.abc import Callable
from typing import Any

from ray import tune

from evossl.cluster.searcher import StatelessSearcher
from evossl.types import Progress


class StopOnFault(tune.Callback):
    """Ends the run when the searcher has met a fault: an exception raised here leaves Tune."""

    def __init__(self, searcher: StatelessSearcher) -> None:
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: see the module's docstring."""
        return {}

    def on_step_end(self, iteration: int, trials: Any, **_: Any) -> None:
        """Raise the searcher's fault, if there is one.

        Raises:
            RunError, UserError: the fault.
        """
        if self._searcher.fault is not None:
            raise self._searcher.fault


class ProgressCallback(tune.Callback):
    """Reports the steps done in all trials together.

    Args:
        done: steps of trials that ended before this session.
        total: steps of all trials.
        steps_per_trial: what a trial that ends counts for, even if it ends early or has other
            steps; a running one counts for its share.
        progress: called with (steps done, steps in total), or None.
        warn: called once, with a sentence, if a trial gets too little CPU time; or None.
    """

    def __init__(
        self,
        done: int,
        total: int,
        steps_per_trial: int,
        progress: Progress | None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._done = done
        self._reported = 0
        self._total = total
        self._steps_per_trial = steps_per_trial
        self._running: dict[str, int] = {}
        self._progress = progress
        self._warn = warn

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: a progress bar holds locks that cannot be pickled."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        """Count the steps of a trial that has logged one; warn of the first that is starved."""
        self._running[trial.trial_id] = round(result.get("share", 1.0) * self._steps_per_trial)
        self._report()
        if self._warn and result.get("starved"):
            self._warn(result["starved"])
            self._warn = None

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Count all steps of a trial that has ended, perhaps before its last step."""
        self._running.pop(trial.trial_id, None)
        self._done += self._steps_per_trial
        self._report()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Count all steps of a trial whose worker has died for the last time."""
        self.on_trial_complete(iteration, trials, trial)

    def _report(self) -> None:
        """Report progress that never decreases, even if a trial starts again, nor exceeds total."""
        if self._progress:
            done = self._done + sum(self._running.values())
            self._reported = min(max(done, self._reported), self._total)
            self._progress(self._reported, self._total)
