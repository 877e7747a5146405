"""What every stage of a search needs: the run, the plan, the Ray session and the reporter."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from evossl.cluster.session import Session
from evossl.config import SearchSpace
from evossl.experiment.context import RunSpec
from evossl.experiment.passes import num_steps
from evossl.experiment.racing import round_sizes
from evossl.experiment.terms import term_weights
from evossl.experiment.trial_spec import TrialSpec, sized
from evossl.genes import GeneValue
from evossl.search.genotype import Genotype
from evossl.search.table import TrialRow
from evossl.training.resolved_space import ResolvedSpace, resolve_space
from evossl.training.schedule import Part
from evossl.types import Progress

REPORTS_PER_TRIAL = 20


@dataclass(frozen=True)
class SearchPlan:
    """How much to search.

    Attributes:
        trials: number of trials, re-runs included.
        steps: training steps of a trial; with `passes`, those of equal weights.
        final_steps: training steps of a winner; with `final_passes`, those of equal weights.
        top: number of winners.
        max_reruns: how many of the trials may repeat the best ones with other seeds.
        passes: encoder passes of a trial, or None.
        final_passes: encoder passes of a winner's training, or None.
    """

    trials: int
    steps: int
    final_steps: int
    top: int = 1
    max_reruns: int = 0
    passes: int | None = None
    final_passes: int | None = None

    @classmethod
    def of(cls, resolved: ResolvedSpace, top: int = 1) -> "SearchPlan":
        """Return the plan that a space's budget describes."""
        budget = resolved.space.budget
        equal = Genotype.from_weights(term_weights(resolved)).equal_weights()

        def steps(prescribed: int, passes: int | None) -> int:
            return prescribed if passes is None else num_steps(passes, resolved, equal)

        return cls(
            budget.trials,
            steps(budget.steps, budget.passes),
            steps(budget.final_steps, budget.final_passes),
            top,
            budget.max_reruns,
            budget.passes,
            budget.final_passes,
        )

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
        return TrialSpec(
            0,
            {},
            self.run,
            steps,
            log_every=log_every,
            rungs=rungs,
            part=part,
            passes=self.plan.passes,
        )

    def sized(self, spec: TrialSpec) -> TrialSpec:
        """Return a trial with the steps that it may train; see `trial_spec.sized`."""
        return sized(spec, self._resolved)

    def trial_spec(self, row: TrialRow) -> TrialSpec:
        """Return the spec of a trial that has ended; its parent is left out."""
        own = replace(self.template, number=row.trial, weights=row.weights, genes=row.genes)
        return self.sized(own)

    def final_steps(
        self, weights: Mapping[str, float], genes: Mapping[str, GeneValue], inherited: int = 0
    ) -> int:
        """Return the steps of a winner's training with the given genotype.

        Args:
            weights: of the genotype.
            genes: of the genotype.
            inherited: number of a population's segments that the training makes up for.
        """
        plan = self.plan
        if plan.final_passes is None:
            return plan.final_steps
        passes = plan.final_passes + inherited * (plan.passes or 0)
        return num_steps(passes, self._resolved, weights, genes)

    @cached_property
    def _resolved(self) -> ResolvedSpace:
        folder = self.run.tasks_folder
        return resolve_space(self.space, Path(folder) if folder else None)
