"""What every stage of a search needs: the run, the plan, the Ray session and the reporter."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from evossl.cluster.session import Session
from evossl.config import SearchSpace
from evossl.experiment.context import RunSpec
from evossl.experiment.racing import round_sizes
from evossl.experiment.trial import TrialSpec
from evossl.training.schedule import Part
from evossl.types import Progress

REPORTS_PER_TRIAL = 20


@dataclass(frozen=True)
class SearchPlan:
    """How much to search.

    Attributes:
        trials: number of trials, re-runs included.
        steps: training steps of a trial.
        final_steps: training steps of a winner.
        top: number of winners.
        max_reruns: how many of the trials may repeat the best ones with other seeds.
    """

    trials: int
    steps: int
    final_steps: int
    top: int = 1
    max_reruns: int = 0

    @property
    def round_sizes(self) -> list[int]:
        """Number of re-runs in each round of the race between the best trials."""
        return round_sizes(self.max_reruns)

    @property
    def num_new(self) -> int:
        """Number of trials that are no re-runs."""
        return self.trials - sum(self.round_sizes)


@dataclass(frozen=True)
class Reporter:
    """How a search reports to a person.

    Attributes:
        progress_bar: opens a progress bar with the given title.
        message: prints one line.
    """

    progress_bar: Callable[[str], AbstractContextManager[Progress]]
    message: Callable[[str], None]


@dataclass(frozen=True)
class SearchJob:
    """What every stage of a search needs; `run` has the gradient scales."""

    run: RunSpec
    space: SearchSpace
    plan: SearchPlan
    session: Session
    reporter: Reporter

    @property
    def template(self) -> TrialSpec:
        """What all trials share; number and weights are filled in for each."""
        steps = self.plan.steps
        log_every = max(1, steps // REPORTS_PER_TRIAL)
        rungs = self.space.stopping.steps(steps, log_every)
        part: Part = "first" if self.space.sampler.name == "pbt" else "whole"
        return TrialSpec(0, {}, self.run, steps, log_every=log_every, rungs=rungs, part=part)
