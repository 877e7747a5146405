import math

import made_by_hand as hand
import made_by_views as real
import naive_pretext as naive
import oracle_checks as checks
import pytest
from edges import EDGES

from evossl.streams import Stream
from evossl.task import Term

streams = pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])


@streams
@pytest.mark.parametrize("edge", EDGES)
def test_the_loss_is_the_mean_of_the_cross_entropies_of_both_orders(
    stream: Stream, edge: str
) -> None:
    case, seen = checks.at_edge(Term("cubic_puzzles", (stream,)), edge)
    expected = sum(
        naive.cross_entropy(head(seen[name].embedding_BD), seen[name].applied.order_B)
        for name, head in (("space", case.task.space), ("time", case.task.time))
    )
    assert math.isclose(case.task.loss(seen).item(), expected / 2, rel_tol=1e-5)


@streams
def test_four_pieces_are_apart_in_space_and_four_in_time(stream: Stream) -> None:
    case = real.built("cubic_puzzles", stream)
    seen = real.see(case.views, real.moving_bar(num=4))
    channels = stream.channels
    assert seen["space"].pixels.shape == (4, 4, channels, hand.FRAMES, 16, 16)
    assert seen["time"].pixels.shape == (4, 4, channels, hand.FRAMES // 2, 32, 32)


def test_the_puzzle_of_time_is_seen_once_for_two_tasks() -> None:
    other = hand.build(Term("order_multiclass", (Stream.RGB,))).views["pieces"]
    assert hand.build(Term("cubic_puzzles", (Stream.RGB,))).views["time"] == other
