"""Every task's loss has the correct gradient, with its heads: finite differences in float64.

Queues and banks have been updated once, so that their rows are keys and neighbours.
"""

import pytest
from torch import Tensor
from torch.autograd import gradcheck

from evossl.task import TaskBatch
from evossl.task_loader import load_catalogue
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers.contract_cases import TERM_CASES, TermCase

CASES = [param for param in TERM_CASES if param.values[0].term.task in load_catalogue()]

PREDICTOR_TASKS = ("brave", "simsiam")
"""Their targets are made of the features that learn, so that finite differences with respect to
features would include the targets' gradient. The predictor's weights do not affect the targets."""


def find_leaves(case: hand.Case, batch: TaskBatch) -> tuple[Tensor, ...]:
    """Return the inputs that should receive a gradient, and all others that do."""
    if case.term.task in PREDICTOR_TASKS:
        return tuple(case.task.predictor.parameters())
    case.task.loss(batch).backward()
    leaves = []
    for name, view in case.views.items():
        if view.encoder is not Role.NONE:
            embedding_BD, *maps = hand.leaves(batch[name].features)
            leaves += [embedding_BD] if hand.is_student(case, name) else []
            leaves += [map_ for map_ in maps if map_.grad is not None]
    return tuple(leaves)


@pytest.mark.parametrize("term_case", CASES)
def test_gradient_matches_finite_differences(
    term_case: TermCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, batch = checks.build_edge_case(term_case.term, "random", steps=1, **term_case.options)
    if term_case.term.task == "swav":
        checks.freeze_codes(case.task, monkeypatch)
    leaves = find_leaves(case, batch)
    assert leaves
    assert gradcheck(lambda *_: case.task.loss(batch), leaves, fast_mode=True)
