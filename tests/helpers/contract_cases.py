"""The terms that the contract tests run on.

Every variant of a catalogue task is tested on the task's first place; the other places are marked
as slow. The example task, or a user's own (EVOSSL_TASKS), is tested on all of its places.
"""

from dataclasses import dataclass, field

import pytest

from evossl.task import Term
from evossl.task_loader import load_catalogue
from tests.helpers import handmade_batches as hand
from tests.helpers.published_methods import VARIANTS

ALL_TERMS = list(hand.all_terms())


@dataclass(frozen=True)
class TermCase:
    """A term and options for its task."""

    term: Term
    options: dict[str, object] = field(default_factory=dict)


def _is_slow(term: Term) -> bool:
    if term.task not in load_catalogue():
        return False
    place = hand.CATALOGUE[term.task].places[0]
    return (term.place.streams, term.place.directed) != (place.streams, place.directed)


def _term_cases() -> list[pytest.param]:
    cases = []
    for term in ALL_TERMS:
        marks = pytest.mark.slow if _is_slow(term) else ()
        cases.append(pytest.param(TermCase(term), id=term.name, marks=marks))
        for name, choice in VARIANTS.items():
            if choice["task"] == term.task and (options := choice.get("options")):
                case = TermCase(term, {"rho": 3, **options})
                cases.append(pytest.param(case, id=f"{name}.{term.place.name}", marks=marks))
    return cases


TERM_CASES = _term_cases()
