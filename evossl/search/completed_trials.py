"""The input of samplers: the finished trials in order of completion, and nothing else."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from evossl.genes import Gene, GeneValue
from evossl.search.unit_box import distributions

TrialStatus = Literal["complete", "at_chance", "failed", "pruned"]

_STUDY_NAME = "finished"
# Bounds between the values of complete, pruned, at-chance and failed trials.
_MAX_COMPLETE = 1e99
_PRUNED_SCALE = 1e100
_AT_CHANCE = 1e101


class _UncopiedTrial(FrozenTrial):
    """A trial that is never shared, so `deepcopy` returns it; copying dominates storing one."""

    def __deepcopy__(self, memo: dict[int, object]) -> "_UncopiedTrial":
        return self


class CompletedTrials:
    """An optuna study in memory, to which trials are only added, in order of completion.

    Args:
        bounds: (low, high) of each evolving weight.
        genes: what else evolves.
    """

    def __init__(
        self, bounds: Mapping[str, tuple[float, float]], genes: Mapping[str, Gene] | None = None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # not a line for every trial
        self._distributions = distributions(bounds, genes or {})
        self._storage = InMemoryStorage()
        self._study_id = self._storage.create_new_study([StudyDirection.MINIMIZE], _STUDY_NAME)
        self._num_trials = 0

    def __len__(self) -> int:
        return self._num_trials

    def add(
        self, evolving: Mapping[str, GeneValue], status: TrialStatus, fitness: float | None
    ) -> None:
        """Append a finished trial."""
        now = datetime.now()
        trial = _UncopiedTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.COMPLETE,
            value=rank_value(status, fitness),
            datetime_start=now,
            datetime_complete=now,
            params=dict(evolving),
            distributions=dict(self._distributions),
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        self._storage.create_new_trial(self._study_id, template_trial=trial)
        self._num_trials += 1

    def study(self) -> optuna.Study:
        """Return the trials as a new optuna study, since optuna's caches its trials."""
        unused = optuna.samplers.RandomSampler(seed=0)
        return optuna.load_study(study_name=_STUDY_NAME, storage=self._storage, sampler=unused)


def rank_value(status: TrialStatus, fitness: float | None) -> float:
    """Return the value that samplers see, by status and then by fitness; never NaN.

    The order is complete < pruned < at chance < failed, and samplers use nothing else. A pruned
    trial was scored after fewer steps and lost to others there, so it ranks below every complete
    trial. At chance there is no order: all such trials are equal.
    """
    if status == "at_chance":
        return _AT_CHANCE
    if status == "failed" or fitness is None:
        return math.inf
    if status == "pruned":  # monotone in the fitness, within (1, 3) times the scale
        return _PRUNED_SCALE * (2 + fitness / (1 + abs(fitness)))
    return min(max(fitness, -_MAX_COMPLETE), _MAX_COMPLETE)
