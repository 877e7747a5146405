"""Sentences of the page: the meaning of `ignores`, the verdict so far, how to repeat the run."""

import shlex
from collections.abc import Sequence

from evossl.config import Budget
from evossl.report.contents import RunContents
from evossl.report.trial_ranking import fitness_of, is_scored, random_inits

RESUMABLE_VERBS = ("search", "train")

IGNORED_PROPERTIES = {
    "colour": "its colours",
    "crop": "its crop (position and size in the frame)",
    "flip": "its left-right orientation",
    "time": "its moment in the video",
    "speed": "its playback speed",
    "noise": "its image noise",
}


def ignores_sentences(ignores: Sequence[str]) -> str:
    """Return what the choice of `ignores` means for the encoder and for the ranking."""
    if not ignores:
        return "Nothing is ignored: any difference between two clips may show in the features."
    listed = _join([IGNORED_PROPERTIES[word] for word in ignores if word in IGNORED_PROPERTIES])
    ranking = (
        "what happens in a clip, whatever it looks like (motion)"
        if "colour" in ignores
        else "what a clip looks like, whatever happens in it (appearance)"
    )
    return (
        f"The encoder should ignore these properties of a clip: {listed}. Encoders are therefore "
        f"ranked by {ranking}. Training and fitness both follow this choice. Another choice would "
        "rank the same encoders differently, and no data can tell which one is right: the choice "
        "is yours."
    )


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"


def verdict_sentence(run: RunContents) -> str:
    """Return the verdict; before there is one, the best trial and the controls so far."""
    if run.verdict:
        return run.verdict.line
    best = run.best
    if best is None:
        return "No trial has a fitness yet."
    found = (
        f"The best trial so far is trial {best.trial}, with a fitness of {best.fitness:.3f} nats"
    )
    parts = [f"The search has not finished. {found}"]
    controls = [row for row in run.controls if is_scored(row)]
    if controls:
        lowest = min(controls, key=fitness_of)
        parts.append(f"the best control, {lowest.name}, has {lowest.fitness:.3f} nats")
    if inits := random_inits(run.controls):
        spread = f"{inits.mean:.3f} \N{PLUS-MINUS SIGN} {inits.sd:.3f}"
        parts.append(f"the random inits have {spread} nats (mean and standard deviation)")
    return f"{'; '.join(parts)}."


def resume_command(command: str) -> str | None:
    """Return the command with --resume; None if its verb cannot be resumed."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if not any(verb in words[1:2] for verb in RESUMABLE_VERBS):
        return None
    return command if "--resume" in words else f"{command} --resume"


def format_duration(seconds: float | None) -> str:
    """Return "12 s", "3 min 05 s" or "2 h 10 min"; a dash for None."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def count_noun(count: int, noun: str) -> str:
    """Return "1 trial" or "2,000 trials"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_budget(budget: Budget) -> str:
    """Return how many trials a run may have, and how long they and the winner train."""
    trial = _length(budget.steps, budget.passes)
    winner = _length(budget.final_steps, budget.final_passes)
    return f"{count_noun(budget.trials, 'trial')} of {trial}, and {winner} for the winner"


def _length(steps: int | str, passes: int | None) -> str:
    if passes is not None:
        return f"{passes:,} encoder passes"
    return count_noun(steps, "step") if isinstance(steps, int) else "the steps that the pilot finds"
