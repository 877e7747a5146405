"""BoxSampler: an optuna sampler that proposes points of a box from the finished trials in order.

Shapes: D weight. Units: a weight's bounds are 0 and 1.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Unit = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """A finished trial: its point in the unit box, its value (lower is better, never NaN)."""

    number: int
    unit_D: Unit
    value: float


class BoxSampler(optuna.samplers.BaseSampler):
    """A function of (seed, trial number, finished trials in the study's order).

    What is kept between asks is a memo: it is dropped whenever the finished trials are not those
    of the last ask followed by new ones. evossl's `Study` gives a study of finished trials in the
    order in which they finished. Parameters that are not plain floats are drawn at random.

    Args:
        seed: of all draws.
        space: the parameters, known beforehand; None: those that all finished trials have.
    """

    min_weights = 1  # with fewer, random draws

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution] | None = None) -> None:
        self._seed = seed
        self._space = space
        self._box: dict[str, FloatDistribution] = {}
        self._seen: list[FrozenTrial] = []
        self._scored: list[Scored] = []

    def _propose(self, scored: list[Scored], num_weights: int, rng: np.random.Generator) -> Unit:
        """Return the next point; `scored` only ever grows until `_forget` is called."""
        raise NotImplementedError  # abstract

    def _forget(self) -> None:
        """Drop the memo."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are proposed together (optuna calls it before each trial)."""
        space = IntersectionSearchSpace().calculate(study) if self._space is None else self._space
        return dict(_plain(space))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all of `search_space` (optuna calls it once a trial).

        Raises:
            ValueError: the study has several objectives.
        """
        if len(study.directions) > 1:
            raise ValueError(f"{type(self).__name__} minimises one number, not several")
        box = _plain(search_space)
        if len(box) < self.min_weights:
            box = {}
        params = {
            name: self.sample_independent(study, trial, name, kind)
            for name, kind in search_space.items()
            if name not in box
        }
        if box:
            self._catch_up(study, box)
            rng = np.random.default_rng([self._seed, trial.number])
            unit_D = self._propose(self._scored, len(box), rng)
            for (name, kind), unit in zip(box.items(), unit_D, strict=True):
                weight = kind.low + float(unit) * (kind.high - kind.low)
                params[name] = min(max(weight, kind.low), kind.high)
        return params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a uniform draw (optuna calls it for what is not proposed together).

        Raises:
            ValueError: the study has several objectives.
        """
        if len(study.directions) > 1:
            raise ValueError(f"{type(self).__name__} minimises one number, not several")
        rng = np.random.default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        uniform = optuna.samplers.RandomSampler(seed=int(rng.integers(2**32)))
        return uniform.sample_independent(study, trial, param_name, param_distribution)

    def _catch_up(self, study: optuna.Study, box: dict[str, FloatDistribution]) -> None:
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if box != self._box or finished[: len(self._seen)] != self._seen:
            self._box, self._seen, self._scored = box, [], []
            self._forget()
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        for trial in finished[len(self._seen) :]:
            unit_D = _unit(trial.params, box)
            if unit_D is not None:
                assert trial.value is not None
                assert not np.isnan(trial.value), "cmaes.CMA mis-sorts NaN"
                self._scored.append(Scored(trial.number, unit_D, sign * trial.value))
        self._seen = finished


def _plain(space: Mapping[str, BaseDistribution]) -> dict[str, FloatDistribution]:
    return {
        name: kind
        for name, kind in space.items()
        if isinstance(kind, FloatDistribution)
        and not (kind.log or kind.step is not None or kind.single())
    }


def _unit(params: Mapping[str, Any], box: Mapping[str, FloatDistribution]) -> Unit | None:
    """The trial's point, or None where it is not a point of this box."""
    if not box.keys() <= params.keys():
        return None
    unit_D = np.array([(params[n] - k.low) / (k.high - k.low) for n, k in box.items()])
    return unit_D if np.all((unit_D >= 0) & (unit_D <= 1)) else None
