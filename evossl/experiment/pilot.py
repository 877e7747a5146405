"""The pilot: how many steps a trial needs before its fitness ranks recipes.

A few weightings are trained with two seeds each and scored at several steps on the way (rungs). The
ranking at a rung is trusted if

1. two seeds of the same weighting rank closer together than chance: of all ways to pair the
   trainings, at most 5 % have pairs as close (a permutation test, so noise passes in 5 % of cases);
2. at most half of the trainings are at chance;
3. it is nearly the ranking at the last rung: Spearman's correlation is 0.8 or more.

The number of steps is the first rung from which on all rungs are trusted. The trainings are longer
than the rung, so their learning rates have not decayed there as those of a trial would have.

Shapes: W weighting, S seed, R rung.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from evossl.rng import derive_seed

PILOT_FILE = "pilot.json"
NUM_SEEDS = 2
NUM_WEIGHTINGS = 6
NUM_PERMUTATIONS = 2000
RUNGS = (1, 2, 4, 8, 12, 16)  # in sixteenths of the longest training
LENGTH_SHARE = 1 / 4  # of the winner's training: a longer trial would be no trial
MIN_CLIPS = 60  # for selection; fewer than 2 clusters of 30 clips agree by chance too often
MAX_P_VALUE = 0.05
MAX_AT_CHANCE = 0.5
MIN_CORRELATION = 0.8

Scores = Sequence[Sequence[Sequence[float | None]]]
"""Fitness by weighting, seed and rung; None where a training is at chance or has failed."""


@dataclass(frozen=True)
class PilotRung:
    """What the pilot's ranking is worth at one rung.

    Attributes:
        step: training steps.
        at_chance: share of the trainings without a fitness.
        p_value: probability that weightings of equal quality differ as much between seeds.
        correlation: Spearman's, of the mean ranks with those at the last rung; None if all are
            tied.
    """

    step: int
    at_chance: float
    p_value: float
    correlation: float | None

    @property
    def is_trusted(self) -> bool:
        """Whether the ranking at this rung is above noise, and that of the last rung."""
        return (
            self.p_value <= MAX_P_VALUE
            and self.at_chance <= MAX_AT_CHANCE
            and self.correlation is not None
            and self.correlation >= MIN_CORRELATION
        )


@dataclass(frozen=True)
class PilotResult:
    """What the pilot found.

    Attributes:
        rungs: in ascending order of their steps.
        seconds_per_pass: of a training, its scoring included.
    """

    rungs: tuple[PilotRung, ...]
    seconds_per_pass: float

    @property
    def is_stable(self) -> bool:
        """Whether the ranking is trusted at the last rung, at least."""
        return self.rungs[-1].is_trusted

    @property
    def steps(self) -> int:
        """The steps that a trial needs; those of the last rung if no ranking is trusted."""
        chosen = self.rungs[-1]
        for rung in reversed(self.rungs):
            if not rung.is_trusted:
                break
            chosen = rung
        return chosen.step

    @property
    def record(self) -> dict[str, Any]:
        """The result as plain data, with its conclusions."""
        conclusions = {"steps": self.steps, "is_stable": self.is_stable, "line": self.line}
        return asdict(self) | conclusions

    @property
    def line(self) -> str:
        """One sentence for the user."""
        longest = self.rungs[-1].step
        if self.is_stable:
            return (
                f"{self.steps:,} steps: from there on, two seeds of a recipe agree about its rank, "
                f"and the ranking is nearly that at {longest:,} steps"
            )
        reasons = _reasons(self.rungs[-1])
        return (
            f"recipes CANNOT be ranked even after {longest:,} steps: {reasons}. Train longer "
            f"(--final-steps), or use more videos; the best guess is {longest:,} steps"
        )


def read_seconds_per_pass(folder: Path) -> float | None:
    """Return what the run's pilot measured, or None without a pilot."""
    try:
        record: Any = json.loads((folder / PILOT_FILE).read_text(encoding="utf-8"))
        return float(record["seconds_per_pass"]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reasons(rung: PilotRung) -> str:
    """Return why the last rung is not trusted."""
    if rung.at_chance > MAX_AT_CHANCE:
        return f"{rung.at_chance:.0%} of the trainings are at chance"
    return (
        "recipes differ no more than two seeds of the same recipe do "
        f"(p = {rung.p_value:.2f}, needed {MAX_P_VALUE:g})"
    )


def rung_steps(longest: int) -> tuple[int, ...]:
    """Return the steps at which the pilot scores its trainings; the last is about `longest`.

    All are multiples of the first, or all steps if there are few.
    """
    if longest < RUNGS[-1]:
        return tuple(range(1, longest + 1))
    unit = round(longest / RUNGS[-1])
    return tuple(unit * rung for rung in RUNGS)


def analyse(
    scores: Scores, steps: Sequence[int], seed: int, seconds_per_pass: float = 0.0
) -> PilotResult:
    """Return what the pilot's trainings tell.

    Args:
        scores: of shape (W, S, R).
        steps: of the rungs, R.
        seed: of the permutations.
        seconds_per_pass: of a training.
    """
    fitness_WSR = np.array(
        [[[math.inf if v is None else v for v in run] for run in seeds] for seeds in scores]
    )
    rank_WSR = np.stack([_ranks(fitness_WSR[:, :, r]) for r in range(len(steps))], axis=-1)
    last_W = rank_WSR[:, :, -1].mean(axis=1)
    rungs = []
    for r, step in enumerate(steps):
        rank_WS = rank_WSR[:, :, r]
        rungs.append(
            PilotRung(
                step=step,
                at_chance=float(np.isinf(fitness_WSR[:, :, r]).mean()),
                p_value=_p_value(rank_WS, derive_seed(seed, "pilot", step)),
                correlation=_correlation(rank_WS.mean(axis=1), last_W),
            )
        )
    return PilotResult(tuple(rungs), seconds_per_pass)


def _ranks(fitness_WS: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of all trainings; those without a fitness share the last ranks."""
    ranks: NDArray[np.float64] = rankdata(fitness_WS).reshape(fitness_WS.shape)
    return ranks


def _correlation(first_W: NDArray[np.float64], second_W: NDArray[np.float64]) -> float | None:
    if np.ptp(first_W) == 0 or np.ptp(second_W) == 0:
        return None
    return float(spearmanr(first_W, second_W).statistic)


def _p_value(rank_WS: NDArray[np.float64], seed: int) -> float:
    """Return the share of random groupings whose groups lie as close together as the weightings.

    The true grouping counts as one of them. Closeness is the variance within groups.
    """
    rng = np.random.default_rng(seed)
    within = rank_WS.var(axis=1).sum()
    drawn = rng.permuted(np.tile(rank_WS.ravel(), (NUM_PERMUTATIONS, 1)), axis=1)
    shuffled = drawn.reshape(NUM_PERMUTATIONS, *rank_WS.shape).var(axis=2).sum(axis=1)
    num_as_close = np.sum(shuffled <= within + 1e-9)
    return float((1 + num_as_close) / (1 + NUM_PERMUTATIONS))
