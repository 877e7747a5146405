"""The ways evossl fails and warns on purpose.

`cli` makes exit codes of errors and lines of warnings, a trial a `Failure`.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong usage: the message names the file, key or word and the remedy (exit code 2)."""


class RunError(RuntimeError):
    """The work cannot be done here: no readable video, a full disk (exit code 1)."""


class EncoderWarning(UserWarning):
    """An encoder that loads, and of which its folder says what must not be overlooked."""


MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a user's own file may raise while it is loaded or called."""


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a `word` that is not among the `known` ones.

    >>> unknown("task", "simcrl", ["simclr", "order"])
    "unknown task 'simcrl': did you mean 'simclr'? Known: order, simclr"
    """
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    hint = f": did you mean {folded[near[0]]!r}?" if near else "."
    return f"unknown {kind} {word!r}{hint} Known: {', '.join(names) or 'none'}"
