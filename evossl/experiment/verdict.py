"""The verdict: is the best trial better than the controls, and by how much?"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evossl.search.table import TrialRow

EQUAL_WEIGHTS_TRIAL = 0
MIN_SDS_BELOW_RANDOM = 3.0  # how far below the random inits a winner must be
MIN_RANDOM_INITS = 3  # fewer give no standard deviation to compare with


@dataclass(frozen=True)
class Verdict:
    """How the best trial compares with the controls.

    Attributes:
        trial: its number.
        fitness: in nats.
        best_control: name and fitness of the best control, or None if none has a fitness.
        sds_below_random: how many of their standard deviations it lies below the mean of the random
            inits; None if fewer than 3 have a fitness, or if all are equal.
        equal_weights: the fitness of trial 0, or None if it failed or was stopped early.
        rerun_sd: standard deviation of the fitness over re-runs with other seeds, or None.
        beats_controls: whether its fitness is lower than that of every control, and more than 3
            standard deviations below the random inits (if at least 3 of them have a fitness).
    """

    trial: int
    fitness: float
    best_control: tuple[str, float] | None
    sds_below_random: float | None
    equal_weights: float | None
    rerun_sd: float | None
    beats_controls: bool

    @property
    def line(self) -> str:
        """The verdict as plain sentences, without line breaks."""
        verb = "beats" if self.beats_controls else "does NOT beat"
        parts = [
            f"Trial {self.trial} {verb} the controls.",
            f"Its fitness is {self.fitness:.3f} nats (lower is better).",
        ]
        if self.best_control is None:
            parts.append("No control could be scored.")
        else:
            name, fitness = self.best_control
            gap = f"The best control, {name}, has {fitness:.3f} nats"
            if self.rerun_sd:
                sds = (fitness - self.fitness) / self.rerun_sd
                gap += f", a difference of {sds:+.1f} standard deviations of a re-run"
            parts.append(f"{gap}.")
        if self.sds_below_random is not None:
            side = "below" if self.sds_below_random >= 0 else "above"
            parts.append(
                f"The trial is {abs(self.sds_below_random):.1f} standard deviations {side} the "
                f"mean of the random inits; it must be more than {MIN_SDS_BELOW_RANDOM:g} below."
            )
        if self.equal_weights is not None and self.trial != EQUAL_WEIGHTS_TRIAL:
            parts.append(f"The trial of equal weights has {self.equal_weights:.3f} nats.")
        return " ".join(parts)

    @property
    def warning(self) -> str | None:
        """The warning that accompanies an encoder no better than the controls, else None."""
        if self.beats_controls:
            return None
        return (
            "This encoder is NO BETTER THAN ITS CONTROLS by the label-free fitness. "
            f"{self.line} Train longer, add videos, or reconsider `ignores`."
        )


def decide_verdict(
    rows: Sequence[TrialRow], best: TrialRow, reruns: Sequence[float] = ()
) -> Verdict:
    """Return how `best` compares with the controls among `rows`.

    Args:
        rows: the trials table, with its controls.
        best: a complete trial.
        reruns: fitness of the same weights with other seeds.
    """
    assert best.fitness is not None
    controls = [row for row in rows if row.is_control and row.fitness is not None]
    scores = [(row.name, row.fitness) for row in controls if row.fitness is not None]
    lowest = min(scores, key=lambda score: score[1], default=None)
    sds = _sds_below_random(best.fitness, controls)
    complete = (row for row in rows if row.status == "complete")
    equal = next((row.fitness for row in complete if row.trial == EQUAL_WEIGHTS_TRIAL), None)
    return Verdict(
        trial=best.trial,
        fitness=best.fitness,
        best_control=lowest,
        sds_below_random=sds,
        equal_weights=equal,
        rerun_sd=statistics.stdev([best.fitness, *reruns]) if reruns else None,
        beats_controls=lowest is not None
        and best.fitness < lowest[1]
        and (sds is None or sds > MIN_SDS_BELOW_RANDOM),
    )


def _sds_below_random(fitness: float, controls: Sequence[TrialRow]) -> float | None:
    """See `Verdict.sds_below_random`."""
    inits = [
        row.fitness for row in controls if row.kind == "random_init" and row.fitness is not None
    ]
    if len(inits) < MIN_RANDOM_INITS:
        return None
    sds = sds_below(fitness, inits)
    return sds if math.isfinite(sds) else None


def sds_below(fitness: float, random_inits: Sequence[float]) -> float:
    """Return how many of their sds a fitness lies below the mean of at least 2 random inits.

    It is negative above the mean, and infinite (or 0) if the random inits are all equal.
    """
    gain = statistics.fmean(random_inits) - fitness
    sd = statistics.stdev(random_inits)
    if sd == 0:
        return 0.0 if gain == 0 else math.copysign(math.inf, gain)
    return gain / sd
