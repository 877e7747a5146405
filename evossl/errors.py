"""Errors and warnings that evossl raises on purpose.

The command line turns errors into exit codes and warnings into lines; a trial turns them into a
`Failure`.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong usage: the message names the file, key or word and the remedy (exit code 2)."""


class RunError(RuntimeError):
    """The work cannot be done here: no readable video, a full disk (exit code 1)."""


class EncoderWarning(UserWarning):
    """Issued when an encoder whose config carries a warning is loaded."""


USER_CODE_ERRORS = (
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
"""What a user's own Python file may raise while it is imported or called."""


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the error message for a `word` that is not among the `known` ones.

    >>> unknown("task", "simcrl", ["simclr", "order"])
    "unknown task 'simcrl': did you mean 'simclr'? Known: order, simclr"
    """
    names = sorted(known)
    by_folded = {name.casefold(): name for name in names}
    nearest = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f": did you mean {by_folded[nearest[0]]!r}?" if nearest else "."
    return f"unknown {kind} {word!r}{hint} Known: {', '.join(names) or 'none'}"
