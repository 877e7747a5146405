"""A Tune scheduler that stops trials early at their rungs."""

import math
from collections.abc import Iterable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from evossl.config import Stopping
from evossl.experiment.trial_spec import rung_indicator
from evossl.search.stopping import is_promoted
from evossl.search.table import TrialRow


class RungScheduler(FIFOScheduler):
    """First in, first out; at a rung, only the best trials continue.

    Args:
        rule: the early stopping rule of the space.
        rows: of the study. What trials of earlier sessions scored at their rungs counts too, so a
            resumed search stops the same trials.
    """

    def __init__(self, rule: Stopping, rows: Iterable[TrialRow]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rule = rule
        self._fitness_by_trial: dict[str, dict[int, float]] = {}
        for row in rows:
            for rung in map(rung_indicator, range(1, len(rule.rungs) + 1)):
                if rung in row.indicators:
                    self._record(rung, row.trial, row.indicators[rung])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Tune's word for continuing or stopping the trial that has reported."""
        if "rung" not in result:
            return str(TrialScheduler.CONTINUE)
        rung, number, fitness = result["rung"], result["number"], result["fitness"]
        others = [f for other, f in self._fitness_by_trial.get(rung, {}).items() if other != number]
        self._record(rung, number, fitness)
        promoted = is_promoted(fitness, others, self._rule)
        return str(TrialScheduler.CONTINUE if promoted else TrialScheduler.STOP)

    def _record(self, rung: str, number: int, fitness: float) -> None:
        """Record a score; a trial that is retried after its worker died replaces its own score."""
        score = fitness if math.isfinite(fitness) else math.inf
        self._fitness_by_trial.setdefault(rung, {})[number] = score
