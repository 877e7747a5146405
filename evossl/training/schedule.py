"""Schedule: how long a training lasts, where it starts, and where its schedules stand at a step."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evossl.training.checkpoint import read_state

MAX_CONFLICT_MEASUREMENTS = 10  # per training

Part = Literal["whole", "first", "middle", "last"]
"""Which part of a longer training a training is; see `Schedule.clock`."""


@dataclass(frozen=True)
class StepPlan:
    """What a step needs to know about its place in the training.

    Attributes:
        step: number of the step, from 0; inherited steps count.
        progress: of the schedules before it, in [0, 1].
        measures_conflict: whether gradient conflict is measured in it.
    """

    step: int
    progress: float
    measures_conflict: bool = False


@dataclass(frozen=True)
class Inheritance:
    """The checkpoint of another training from which a training starts.

    Attributes:
        checkpoint: its folder.
        step: steps done when it was saved, its own inherited ones included.
    """

    checkpoint: Path
    step: int

    @classmethod
    def of(cls, checkpoint: Path) -> "Inheritance":
        """Return the inheritance of a checkpoint.

        Raises:
            UserError: not a checkpoint.
        """
        return cls(checkpoint, int(read_state(checkpoint)["step"]))


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts, where it starts, and how often it reports and saves.

    Attributes:
        steps: optimiser steps.
        log_every: steps between two reports; the first and the last step are always reported.
        save_every: steps between two checkpoints; None saves only at the end.
        deadline_seconds: limit on the training's wall time, or None.
        part: which part of a longer training this is.
        inherits: the checkpoint that it starts from, or None for the initial weights.
    """

    steps: int
    log_every: int = 10
    save_every: int | None = None
    deadline_seconds: float | None = None
    part: Part = "whole"
    inherits: Inheritance | None = None

    @property
    def inherited_steps(self) -> int:
        """Steps done before this training; data order and randomness continue from there."""
        return self.inherits.step if self.inherits else 0

    @property
    def conflict_every(self) -> int:
        """Steps between two measurements of conflict, which all fall on reported steps."""
        return self.log_every * math.ceil(self.steps / (MAX_CONFLICT_MEASUREMENTS * self.log_every))

    def clock(self, step: int) -> tuple[int, int]:
        """Return (position, length) of the schedules of learning rate, EMA decay and tasks.

        A whole training runs them from 0 to their end. The first training of a population's member
        runs them to their middle. There they stand still in its later trainings, so that any
        number of them can follow. The last training, of the winner, runs them to their end.
        """
        if self.part == "whole":
            return step, self.steps
        position = {"first": step, "middle": self.steps, "last": self.steps + step}[self.part]
        return position, 2 * self.steps

    def at(self, step: int) -> StepPlan:
        """Return the plan of this training's step, numbered from 0."""
        position, length = self.clock(step)
        measures_conflict = (step + 1) % self.conflict_every == 0
        return StepPlan(self.inherited_steps + step, position / length, measures_conflict)

    def is_reported(self, done: int) -> bool:
        """Return whether a report is due after `done` steps (the first step aside)."""
        return done % self.log_every == 0 or done == self.steps

    def is_saved(self, done: int) -> bool:
        """Return whether a checkpoint is due after `done` steps."""
        return done == self.steps or bool(self.save_every and done % self.save_every == 0)
