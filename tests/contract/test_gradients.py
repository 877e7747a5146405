"""Every loss has the gradient that it claims, with its heads, by finite differences in float64.

A memory has had a step, so that keys and neighbours are its rows.
"""

import pytest
from torch import Tensor
from torch.autograd import gradcheck

from evossl.task import TaskBatch, Term
from evossl.task_loader import load_catalogue
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks

TERMS = [term for term in hand.all_terms() if term.task in load_catalogue()]

PREDICTORS = ("brave", "simsiam")
"""Their targets are made of the very features that learn, so that a difference of these would be of
the targets too; of the predictor's weights it is not."""


def learning(case: hand.Case, seen: TaskBatch) -> tuple[Tensor, ...]:
    """What a gradient is to reach, and all that it does."""
    if case.term.task in PREDICTORS:
        return tuple(case.task.predict.parameters())
    case.task.loss(seen).backward()
    leaves = []
    for name, view in case.views.items():
        if view.encoder is not Role.NONE:
            embedding_BD, *maps = hand.leaves(seen[name].features)
            leaves += [embedding_BD] if hand.is_student(case, name) else []
            leaves += [map_ for map_ in maps if map_.grad is not None]
    return tuple(leaves)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_the_gradient_is_the_slope_of_the_loss(term: Term, monkeypatch: pytest.MonkeyPatch) -> None:
    case, seen = checks.at_edge(term, "random", steps=1)
    if hasattr(case.task, "swap"):
        checks.hold_codes(case.task, monkeypatch)
    leaves = learning(case, seen)
    assert leaves
    assert gradcheck(lambda *_: case.task.loss(seen), leaves, fast_mode=True)
