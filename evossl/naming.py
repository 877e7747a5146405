"""Unknown words are answered with their nearest neighbours."""

import difflib
from collections.abc import Iterable


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
