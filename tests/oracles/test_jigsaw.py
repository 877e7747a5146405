import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import Stream
from evossl.views.puzzle import distant_orders
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_pretext_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES

streams = pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])


@streams
@pytest.mark.parametrize("edge", EDGES)
def test_loss_is_the_cross_entropy_of_the_order(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("jigsaw", Place((stream,))), edge)
    cells = batch["cells"]
    assert cells.embedding_BD.shape[1:] == (9, case.task.place.width)
    expected = naive.cross_entropy(case.task.head(cells.embedding_BD), cells.applied.order_B)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@streams
def test_nine_cells_have_one_of_64_distant_orders(stream: Stream) -> None:
    case = real.build("jigsaw", stream)
    cells = real.build_batch(case.views, real.moving_bar(num=40))["cells"]
    assert cells.pixels.shape == (40, 9, stream.channels, hand.FRAMES, 10, 10)
    orders = distant_orders(64, 9)
    assert torch.equal(cells.applied.permutation_BN, orders[cells.applied.order_B])
    assert case.task.head(torch.zeros(2, 9, case.task.place.width)).shape == (2, 64)
