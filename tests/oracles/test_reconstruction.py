import math

import pytest

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import SINGLE_VIEW_EDGES
from tests.helpers.naive_losses import mean_squared_error


@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
@pytest.mark.parametrize("stream", list(Stream))
def test_loss_is_the_mean_squared_error_of_the_input(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("reconstruction", Place((stream,))), edge)
    decoded = case.task.decoder(batch["clip"].maps["stage4"])
    expected = mean_squared_error(decoded, batch["clip"].pixels)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("stream", list(Stream))
def test_view_is_shared_with_cross_modal_transfer(stream: Stream) -> None:
    target = Stream.RGB if stream is Stream.FLOW else Stream.FLOW
    transfer = hand.build(Term("cross_modal_transfer", Place((stream, target), directed=True)))
    assert (
        hand.build(Term("reconstruction", Place((stream,)))).views["clip"]
        == transfer.views["source"]
    )
