"""The best checkpoint of a long training, by the fitness on the selection set.

A training can become worse. It is therefore scored several times on its way, and the encoder of the
best score is the one that is exported.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evossl.fitness.score import Score
from evossl.io.files import write_json
from evossl.models.encoder import Encoder
from evossl.training.checkpoint import save_encoder_state
from evossl.types import Stream

SCORES_FILE = "selection.json"
CHECKPOINT = "selected"  # folder of the best encoder so far
NUM_SCORES = 5  # along a training, the last step included


@dataclass(frozen=True)
class StepScore:
    """The fitness and indicators at one step of a training; the fitness is None if it had none."""

    step: int
    fitness: float | None
    indicators: Mapping[str, float] = field(default_factory=dict)


class SelectedCheckpoint:
    """Keeps the best-scored encoder of a training in its folder, and the scores of all steps.

    Args:
        folder: of the training.
        resume: continue from the scores that an interrupted training left there.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self._folder = folder
        self.scores = read_scores(folder) if resume else []
        if not resume:
            shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)

    def offer(self, step: int, scored: Score, encoder: Encoder) -> bool:
        """Record the score at a step, and return whether its encoder is the best so far.

        If it is, the encoder is saved in place of the one before.

        Raises:
            RunError: the disk is full.
        """
        others = [score for score in self.scores if score.step != step]
        new = StepScore(step, scored.fitness, scored.indicators)
        self.scores = sorted([*others, new], key=lambda score: score.step)
        is_best = best_step(self.scores) is new
        if is_best:
            save_encoder_state(self._folder / CHECKPOINT, encoder, Stream.RGB)
        write_json(self._folder / SCORES_FILE, [asdict(score) for score in self.scores])
        return is_best


def scored_steps(steps: int, log_every: int) -> tuple[int, ...]:
    """Return the steps at which a long training is scored before its last one."""
    at = {round(steps * i / NUM_SCORES / log_every) * log_every for i in range(1, NUM_SCORES)}
    return tuple(sorted(step for step in at if 0 < step < steps))


def read_scores(folder: Path) -> list[StepScore]:
    """Return the scores of a training's steps; empty if there are none that can be read."""
    try:
        records = json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))
        return [StepScore(**record) for record in records]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def best_step(scores: list[StepScore]) -> StepScore | None:
    """Return the step of lowest fitness, the earliest of equals; None if none has a fitness."""
    return min(
        (score for score in scores if score.fitness is not None),
        key=lambda score: (score.fitness, score.step),
        default=None,
    )
