"""A Tune scheduler that cuts trials short at their rungs, by what others scored there."""

import math
from collections.abc import Iterable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from evossl.config import Stopping
from evossl.experiment.trial import rung_indicator
from evossl.search.stopping import is_promoted
from evossl.search.table import TrialRow


class RungScheduler(FIFOScheduler):
    """First in, first out; at a rung, the best share goes on.

    Args:
        rule: of the space.
        rows: of the study: what earlier sessions' trials scored at their rungs counts.
    """

    def __init__(self, rule: Stopping, rows: Iterable[TrialRow]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rule = rule
        self._come: dict[str, dict[int, float]] = {}
        for row in rows:
            for rung in map(rung_indicator, range(1, len(rule.rungs) + 1)):
                if rung in row.indicators:
                    self._enter(rung, row.trial, row.indicators[rung])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Tune's word for what is to become of a trial that has reported."""
        if "rung" not in result:
            return str(TrialScheduler.CONTINUE)
        rung, number, fitness = result["rung"], result["number"], result["fitness"]
        others = [f for other, f in self._come.get(rung, {}).items() if other != number]
        self._enter(rung, number, fitness)
        go = is_promoted(fitness, others, self._rule)
        return str(TrialScheduler.CONTINUE if go else TrialScheduler.STOP)

    def _enter(self, rung: str, number: int, fitness: float) -> None:
        """A trial whose worker died comes to a rung twice, and counts once."""
        self._come.setdefault(rung, {})[number] = fitness if math.isfinite(fitness) else math.inf
