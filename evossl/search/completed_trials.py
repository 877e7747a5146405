"""What samplers see: the finished trials in order of completion, and nothing else."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

TrialStatus = Literal["complete", "failed", "pruned"]

_NAME = "finished"


class _Trial(FrozenTrial):
    """Nobody else holds it, so its copy is itself: copying is most of what storing one costs."""

    def __deepcopy__(self, memo: dict[int, object]) -> "_Trial":
        return self


class CompletedTrials:
    """A study in memory that only ever grows; its trials' numbers are their order of completion.

    Args:
        bounds: (low, high) of each evolving weight.
    """

    def __init__(self, bounds: Mapping[str, tuple[float, float]]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # else a line for every study and trial
        self._kinds = {name: FloatDistribution(*pair) for name, pair in bounds.items()}
        self._storage = InMemoryStorage()
        self._study_id = self._storage.create_new_study([StudyDirection.MINIMIZE], _NAME)
        self._num = 0

    def __len__(self) -> int:
        return self._num

    def add(
        self, evolving: Mapping[str, float], status: TrialStatus, fitness: float | None
    ) -> None:
        """Append a trial that has been told."""
        now = datetime.now()
        trial = _Trial(
            number=-1,
            trial_id=-1,
            state=TrialState.COMPLETE,
            value=rank_value(status, fitness),
            datetime_start=now,
            datetime_complete=now,
            params=dict(evolving),
            distributions=dict(self._kinds),
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        self._storage.create_new_trial(self._study_id, template_trial=trial)
        self._num += 1

    def study(self) -> optuna.Study:
        """Return the trials as a study. A new one for each proposal: optuna's caches its trials."""
        uniform = optuna.samplers.RandomSampler(seed=0)  # never asked
        return optuna.load_study(study_name=_NAME, storage=self._storage, sampler=uniform)


def rank_value(status: TrialStatus, fitness: float | None) -> float:
    """Return what samplers are told: complete < pruned < failed, each by fitness, never NaN.

    Samplers use the order only. A pruned trial's score is its rung's, of fewer steps, and it lost
    to others there: it stands behind every complete trial.
    """
    if status == "failed" or fitness is None:
        return math.inf
    if status == "pruned":
        return 1e100 * (2 + fitness / (1 + abs(fitness)))  # monotone, in (1e100, 3e100)
    return min(max(fitness, -1e99), 1e99)
