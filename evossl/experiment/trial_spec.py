"""A trial as plain data: what is to be trained, and what came of it.

Specs and results can cross a process border.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from evossl.errors import UserError
from evossl.experiment.context import RunSpec
from evossl.experiment.passes import num_steps
from evossl.experiment.selected_checkpoint import CHECKPOINT
from evossl.genes import GeneValue
from evossl.training.resolved_space import ResolvedSpace
from evossl.training.schedule import Part


@dataclass(frozen=True)
class TrialSpec:
    """One genotype to be trained, as plain data.

    Attributes:
        number: of the trial; its folder is `trials/<number>`.
        weights: lambda of every term, as proposed.
        run: what it shares with the run's other trials.
        steps: optimiser steps.
        folder: where it writes; None is the run's `trials/<number>`.
        seed: None is the run's; re-runs that measure the noise have another one.
        log_every: steps between two reports.
        resume: continue from the folder's checkpoint, if there is one.
        save_every: steps between two checkpoints; None saves only at the end.
        rungs: reported steps at which the trial is scored on its way, for early stopping.
        keep_best: keep the encoder of the best score, at a rung or at the end, in `selected/`; the
            result is then that of the best score.
        parent: number of the trial whose checkpoint it starts from; None is the initial weights.
        part: which part of a longer training it is.
        genes: values of the genes other than weights; those left out have their defaults.
        passes: encoder passes that its steps take; see `sized`. None if the steps are prescribed.
    """

    number: int
    weights: Mapping[str, float]
    run: RunSpec
    steps: int
    folder: str | None = None
    seed: int | None = None
    log_every: int = 10
    resume: bool = False
    save_every: int | None = None
    rungs: tuple[int, ...] = ()
    keep_best: bool = False
    parent: int | None = None
    part: Part = "whole"
    genes: Mapping[str, GeneValue] = field(default_factory=dict)
    passes: int | None = None

    def inheriting(self, parent: int | None) -> "TrialSpec":
        """Return the same trial as a later segment of a population's member, if it has a parent."""
        return self if parent is None else replace(self, parent=parent, part="middle")


def sized(spec: TrialSpec, resolved: ResolvedSpace) -> TrialSpec:
    """Return a trial with the steps that its passes allow; the same if its steps are prescribed.

    Reports and rungs keep their places, as fractions of the steps. A trial without an active term
    is returned as it is: it fails with its own reason, and must not end the search.
    """
    if spec.passes is None:
        return spec
    try:
        steps = num_steps(spec.passes, resolved, spec.weights, spec.genes)
    except UserError:
        return spec
    log_every = max(1, round(spec.log_every * steps / spec.steps))
    rungs = resolved.space.stopping.steps(steps, log_every) if spec.rungs else ()
    return replace(spec, steps=steps, log_every=log_every, rungs=rungs)


@dataclass(frozen=True)
class TrialResult:
    """A trial's fitness in nats (lower is better), or the reason why it has none.

    Its indicators include what it cost: `steps`, and `passes` through encoders. `at_chance` says
    that the encoder was scored, but agrees with itself no better than chance.
    """

    number: int
    fitness: float | None
    reason: str | None
    seconds: float
    indicators: Mapping[str, float]
    clips_per_second: float = 0.0
    data_wait: float = 0.0
    at_chance: bool = False


@dataclass(frozen=True)
class RungResult:
    """The result that a trial would have if it were stopped at a rung (1, 2, ...)."""

    rung: int
    step: int
    result: TrialResult


def rung_indicator(rung: int) -> str:
    """Return the name of the indicator that holds a trial's fitness at a rung (1, 2, ...)."""
    return f"rung{rung}"


def trial_folder(spec: TrialSpec) -> Path:
    """Return the folder that a trial writes to."""
    return Path(spec.folder or Path(spec.run.folder) / "trials" / str(spec.number))


def checkpoint_folder(spec: TrialSpec) -> Path:
    """Return the folder of the weights that a finished trial's result is of."""
    selected = trial_folder(spec) / CHECKPOINT
    return selected if spec.keep_best and selected.is_dir() else selected.with_name("checkpoint")
