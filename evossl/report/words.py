"""What the page says in words: the choice of `ignores`, the verdict so far, how to run it again."""

import shlex
from collections.abc import Sequence

from evossl.report.read import Run, fitness_of, is_scored
from evossl.report.trials import random_inits

RESUMABLE = ("search", "train")

WITHOUT = {
    "colour": "how it is coloured",
    "crop": "where in the picture it is, and how large",
    "flip": "left from right",
    "time": "at which moment of the video it is",
    "speed": "how fast it goes",
    "noise": "how noisy the picture is",
}


def meaning_of_ignores(ignores: Sequence[str]) -> str:
    """Return what the choice asks of the encoder."""
    if not ignores:
        return "Nothing is ignored: the encoder may tell everything apart."
    told = [WITHOUT[word] for word in ignores if word in WITHOUT]
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])}, or {told[-1]}"
    rank = (
        "So encoders are ranked by what happens, whatever it looks like (motion)."
        if "colour" in ignores
        else "So encoders are ranked by what things look like, whatever happens (appearance)."
    )
    return (
        f"The encoder is asked not to tell {listed}. {rank} Training and fitness both follow this "
        "choice; no data can decide it, and another one would rank the same encoders differently."
    )


def verdict_line(run: Run) -> str:
    """Return the verdict, or how the search stands before there is one."""
    if run.winner:
        return run.winner.verdict.line
    best = run.best
    if best is None:
        return "No trial has a fitness yet."
    inits = random_inits(run.controls)
    line = f"The search is not over. Best so far: trial {best.trial}, {best.fitness:.3f} nats"
    controls = [row for row in run.controls if is_scored(row)]
    if controls:
        lowest = min(controls, key=fitness_of)
        line += f"; the best control, {lowest.name}, has {lowest.fitness:.3f}"
    if inits:
        line += f"; random inits {inits.mean:.3f} \N{PLUS-MINUS SIGN} {inits.sd:.3f}"
    return f"{line}."


def resume_command(command: str) -> str | None:
    """Return the command with --resume, or None for one that cannot be resumed so."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if not any(verb in words[1:2] for verb in RESUMABLE):
        return None
    return command if "--resume" in words else f"{command} --resume"


def duration(seconds: float | None) -> str:
    """Return "12 s", "3 min 05 s", "2 h 10 min"; a dash for None."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def counted(count: int, noun: str) -> str:
    """Return "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
