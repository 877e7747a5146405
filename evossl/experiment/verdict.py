"""The verdict: is the exported encoder better than the controls, or can these data not tell?

All scores are of the verdict set: clips that nothing was trained on and no trial was selected by.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from evossl.fitness.score import RECOMMENDED_CLIPS
from evossl.search.table import ControlKind

Outcome = Literal["better", "not_better", "cannot_tell"]

ERROR_RATE = 0.025  # of calling an encoder better that is like a random init; at most 0.05
MIN_RANDOM_INITS = 3  # fewer give no standard deviation to compare with
MAX_VIDEO_FACTOR = 100  # beyond it, more videos are no realistic remedy


@dataclass(frozen=True)
class VerdictScore:
    """The score of an encoder or a control on the verdict set.

    Attributes:
        name: of the encoder or control.
        fitness: nats, lower is better; None if it is at chance or was rejected.
        reason: why there is no fitness.
        lower_bound: at chance, the least that the fitness can be.
        kind: of a control; None for a trained encoder.
    """

    name: str
    fitness: float | None
    reason: str | None = None
    lower_bound: float | None = None
    kind: ControlKind | None = None

    @property
    def least(self) -> float | None:
        """The fitness, or the least that it can be; None if the features were rejected."""
        return self.lower_bound if self.fitness is None else self.fitness

    @property
    def words(self) -> str:
        """What there is to say of the fitness, as the end of a sentence about the encoder."""
        if self.fitness is not None:
            return f"has {self.fitness:.3f} nats"
        return "is at chance" if self.lower_bound is not None else f"has no fitness: {self.reason}"


@dataclass(frozen=True)
class Evidence:
    """How much a verdict rests on.

    Attributes:
        num_clips: of the verdict set.
        num_videos: of the run.
        num_compared: encoders that the exported one was selected from; each is a chance to be
            lucky, so the bar falls with their number.
        steps: training steps of the exported encoder.
        least_fitness: the fitness of a perfect encoder; None if it is unknown (a user's function).
    """

    num_clips: int
    num_videos: int
    num_compared: int
    steps: int
    least_fitness: float | None = 0.0


@dataclass(frozen=True)
class Verdict:
    """Whether the exported encoder is better than the controls.

    Attributes:
        outcome: "better", "not_better", or "cannot_tell".
        encoder: the score of the exported encoder; None without a verdict set.
        bar: nats; the encoder is better if its fitness is lower. None if there is no bar.
        random_mean: mean of the random inits; None if fewer than 3 have a score.
        random_sd: their standard deviation.
        num_random_at_chance: how many of them are at chance, and count with the least they can be.
        best_control: the best control that is not a random init.
        equal_weights: the score of equal weights, trained as long; None if they are exported, or if
            there are none to compare with.
        evidence: what the verdict rests on.
        needed: what would be needed to tell, as a sentence; empty unless "cannot_tell".
    """

    outcome: Outcome
    encoder: VerdictScore | None
    bar: float | None
    random_mean: float | None
    random_sd: float | None
    num_random_at_chance: int
    best_control: VerdictScore | None
    equal_weights: VerdictScore | None
    evidence: Evidence
    needed: str = ""

    @property
    def line(self) -> str:
        """The verdict as plain sentences, without line breaks."""
        parts = [_HEADLINES[self.outcome], *self._scores()]
        if self.needed:
            parts.append(self.needed)
        return " ".join(parts)

    def _scores(self) -> list[str]:
        if self.encoder is None:
            return []
        where = f"On {self.evidence.num_clips} clips that neither training nor selection has seen"
        found = f"{where}, it {self.encoder.words}"
        needs = "" if self.bar is None else f"; it needs less than {self.bar:.3f} (lower is better)"
        parts = [f"{found}{needs}."]
        if self.random_mean is not None:
            spread = f"mean; standard deviation {self.random_sd:.3f}"
            least = f"; at least, as {self.num_random_at_chance} of them are at chance"
            parts.append(
                f"Random inits have {self.random_mean:.3f} nats "
                f"({spread}{least if self.num_random_at_chance else ''})."
            )
        if self.best_control is not None:
            name, words = self.best_control.name, self.best_control.words
            parts.append(f"The best other control, {name}, {words}.")
        if self.equal_weights is not None:
            parts.append(
                f"The encoder of equal weights, trained as long, {self.equal_weights.words}."
            )
        return parts

    @property
    def warning(self) -> str | None:
        """The warning that accompanies an encoder that is not known to be better, else None."""
        if self.outcome == "better":
            return None
        if self.outcome == "not_better":
            return f"{self.line} Train longer, add videos, or reconsider `ignores`."
        return self.line


_HEADLINES: dict[Outcome, str] = {
    "better": "The exported encoder is better than the controls.",
    "not_better": "The exported encoder is NOT BETTER than the controls.",
    "cannot_tell": (
        "These data CANNOT TELL whether the exported encoder is better than the controls."
    ),
}


def decide_verdict(
    encoder: VerdictScore | None,
    controls: Sequence[VerdictScore],
    evidence: Evidence,
    equal_weights: VerdictScore | None = None,
) -> Verdict:
    """Return the verdict on an encoder.

    The encoder must score lower than every control, and lower than all but 2.5 % of searches would
    if each of their encoders were like a random init. For the latter, the random inits give a
    prediction interval (Student's t) at the level 2.5 % / number of encoders compared (Bonferroni),
    so that a search of many trials is no more likely to be lucky than one training.

    Args:
        encoder: the score of the exported encoder; None without a verdict set.
        controls: the scores of the controls.
        evidence: what the verdict rests on.
        equal_weights: the score of equal weights, trained as long.
    """
    random = [c.least for c in controls if c.kind == "random_init" and c.least is not None]
    others = [c for c in controls if c.kind != "random_init" and c.least is not None]
    best = min(others, key=_least, default=None)
    enough = len(random) >= MIN_RANDOM_INITS
    mean = statistics.fmean(random) if enough else None
    sd = statistics.stdev(random) if enough else None
    bar = None
    if mean is not None and sd is not None:
        bar = mean - _num_sds(len(random), evidence.num_compared) * sd
        bar = min([bar, *map(_least, others)])
    outcome = _decide(encoder, bar, min([mean or math.inf, *map(_least, others)]), evidence)
    needed = ""
    if outcome == "cannot_tell":
        needed = _what_is_needed(encoder, bar, mean, evidence)
    at_chance = sum(c.kind == "random_init" and c.lower_bound is not None for c in controls)
    return Verdict(
        outcome, encoder, bar, mean, sd, at_chance, best, equal_weights, evidence, needed
    )


def _least(score: VerdictScore) -> float:
    assert score.least is not None
    return score.least


def _num_sds(num_random_inits: int, num_compared: int) -> float:
    """Return how many sds below the mean of the random inits an encoder must be."""
    level = ERROR_RATE / max(1, num_compared)
    quantile = float(stats.t.isf(level, num_random_inits - 1))
    return quantile * math.sqrt(1 + 1 / num_random_inits)


def _decide(
    encoder: VerdictScore | None, bar: float | None, best_control: float, evidence: Evidence
) -> Outcome:
    if encoder is None or bar is None:
        return "cannot_tell"
    if encoder.fitness is not None and encoder.fitness < bar:
        return "better"
    if evidence.least_fitness is not None and bar <= evidence.least_fitness:
        return "cannot_tell"  # no encoder can be below the bar
    if encoder.fitness is None and encoder.lower_bound is not None:
        return "not_better" if evidence.num_clips >= RECOMMENDED_CLIPS else "cannot_tell"
    if encoder.fitness is None or encoder.fitness >= best_control:
        return "not_better"
    return "cannot_tell"


def _what_is_needed(
    encoder: VerdictScore | None, bar: float | None, mean: float | None, evidence: Evidence
) -> str:
    """Return a sentence: how many videos, or how long a training, could decide."""
    longer = f"a training of more than {evidence.steps:,} steps"
    if encoder is None:
        return (
            f"With {evidence.num_videos:,} videos, none could be kept aside for a verdict. "
            "At least 240 videos are needed, in groups that can be divided in three."
        )
    if bar is None or mean is None:
        return "Too few random inits could be scored: see the reasons in verdict.json."
    if encoder.fitness is None:
        clips = max(RECOMMENDED_CLIPS, 2 * evidence.num_clips)
        return (
            f"At chance on {evidence.num_clips} clips may mean that they are too few: needed are "
            f"{clips} of them (about {4 * clips:,} videos), or {longer}."
        )
    # The spread of the random inits shrinks with the square root of the number of clips.
    gain = mean - encoder.fitness if encoder.fitness < mean else mean / 2
    factor = ((mean - bar) / gain) ** 2 if gain > 0 else math.inf
    if factor > MAX_VIDEO_FACTOR:
        return f"Needed is {longer}."
    videos = _round_up(evidence.num_videos * max(factor, 1.1))
    return f"Needed are about {videos:,} videos instead of {evidence.num_videos:,}, or {longer}."


def _round_up(number: float) -> int:
    """Return the number rounded up to two digits."""
    unit: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit) * unit
