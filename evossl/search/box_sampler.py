"""BoxSampler: an optuna sampler that proposes points of a box from the finished trials in order.

Shapes: D parameter: a loss weight or another gene (`unit_box`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from evossl.rng import derive_seed
from evossl.search.unit_box import is_searchable, position_of, value_at

Point = NDArray[np.float64]
"""A point of the unit box, (D,)."""


@dataclass(frozen=True)
class ScoredTrial:
    """A finished trial: its point in the unit box, and its value (lower is better, never NaN)."""

    number: int
    point_D: Point
    value: float


class BoxSampler(optuna.samplers.BaseSampler):
    """A function of (seed, trial number, finished trials in order of completion).

    State between proposals is only a memo: it is dropped unless the finished trials are those of
    the last proposal, possibly followed by new ones. `Study` passes an optuna study whose trials
    are in order of completion. Parameters with a step are drawn at random.

    Args:
        seed: of all draws.
        space: the parameters, if known beforehand; None takes those that all finished trials have.
    """

    min_parameters = 1  # with fewer, draws are random

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution] | None = None) -> None:
        self._seed = seed
        self._space = space
        self._box: dict[str, BaseDistribution] = {}
        self._finished: list[FrozenTrial] = []
        self._scored: list[ScoredTrial] = []

    def _propose(
        self, scored: list[ScoredTrial], box: list[BaseDistribution], rng: np.random.Generator
    ) -> Point:
        """Return the next point; between calls `scored` only grows, except after `_reset`."""
        raise NotImplementedError

    def _reset(self) -> None:
        """Drop the memo."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are proposed together; optuna calls this for each trial."""
        space = IntersectionSearchSpace().calculate(study) if self._space is None else self._space
        return _searchable(space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all of `search_space`; optuna calls this once per trial.

        Raises:
            ValueError: the study has several objectives.
        """
        self._check_single_objective(study)
        box = _searchable(search_space)
        if len(box) < self.min_parameters:
            box = {}
        params = {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
            if name not in box
        }
        if box:
            self._update_history(study, box)
            rng = np.random.default_rng(derive_seed(self._seed, "trial", trial.number))
            point_D = self._propose(self._scored, list(box.values()), rng)
            for (name, parameter), position in zip(box.items(), point_D, strict=True):
                params[name] = value_at(float(position), parameter)
        return params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a uniform draw; optuna calls this for parameters that are not proposed together.

        Raises:
            ValueError: the study has several objectives.
        """
        self._check_single_objective(study)
        seed = derive_seed(self._seed, "trial", trial.number, param_name) % 2**32
        uniform = optuna.samplers.RandomSampler(seed=seed)
        return uniform.sample_independent(study, trial, param_name, param_distribution)

    def _check_single_objective(self, study: optuna.Study) -> None:
        if len(study.directions) > 1:
            raise ValueError(f"{type(self).__name__} minimises a single objective, not several")

    def _update_history(self, study: optuna.Study, box: dict[str, BaseDistribution]) -> None:
        """Append the trials that have finished since the last proposal to the scored ones."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if box != self._box or finished[: len(self._finished)] != self._finished:
            self._box, self._finished, self._scored = box, [], []
            self._reset()
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        for trial in finished[len(self._finished) :]:
            point_D = _unit_point(trial.params, box)
            if point_D is not None:
                assert trial.value is not None
                assert not np.isnan(trial.value), "cmaes.CMA mis-sorts NaN"
                self._scored.append(ScoredTrial(trial.number, point_D, sign * trial.value))
        self._finished = finished


def _searchable(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    return {name: parameter for name, parameter in space.items() if is_searchable(parameter)}


def _unit_point(params: Mapping[str, Any], box: Mapping[str, BaseDistribution]) -> Point | None:
    """Return the trial's point in the unit box, or None if it has none."""
    if not box.keys() <= params.keys():
        return None
    point_D = np.array([position_of(params[name], parameter) for name, parameter in box.items()])
    return point_D if np.all((point_D >= 0) & (point_D <= 1)) else None
