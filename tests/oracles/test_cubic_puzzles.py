import math

import pytest

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_pretext_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES

streams = pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])


@streams
@pytest.mark.parametrize("edge", EDGES)
def test_loss_is_the_mean_of_both_cross_entropies(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("cubic_puzzles", Place((stream,))), edge)
    expected = sum(
        naive.cross_entropy(head(batch[name].embedding_BD), batch[name].applied.order_B)
        for name, head in (("space", case.task.space_head), ("time", case.task.time_head))
    )
    assert math.isclose(case.task.loss(batch).item(), expected / 2, rel_tol=1e-5)


@streams
def test_puzzles_have_four_pieces_each(stream: Stream) -> None:
    case = real.build("cubic_puzzles", stream)
    batch = real.build_batch(case.views, real.moving_bar(num=4))
    channels = stream.channels
    assert batch["space"].pixels.shape == (4, 4, channels, hand.FRAMES, 16, 16)
    assert batch["time"].pixels.shape == (4, 4, channels, hand.FRAMES // 2, 32, 32)


def test_time_puzzle_is_shared_with_order_multiclass() -> None:
    other = hand.build(Term("order_multiclass", Place((Stream.RGB,)))).views["pieces"]
    assert hand.build(Term("cubic_puzzles", Place((Stream.RGB,)))).views["time"] == other
