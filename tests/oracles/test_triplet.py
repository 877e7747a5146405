import math

import pytest
import torch

from evossl.losses.triplet import hardest_negative, semi_hard_negative, triplet_margin_loss
from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("triplet", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("negatives", ["hardest", "semi_hard"])
def test_loss_equals_the_papers_formula(stream: Stream, edge: str, negatives: str) -> None:
    term = Term("triplet", Place((stream,)))
    case, batch = checks.build_edge_case(term, edge, negatives=negatives, margin=0.5)
    x, y = (
        [naive.to_unit(row) for row in naive.rows(case.task.projector(batch[name].embedding_BD))]
        for name in ("0", "1")
    )
    x_BD, y_BD = (torch.tensor(z, dtype=torch.float64) for z in (x, y))
    expected = naive_views.triplet_margin_loss(x_BD, y_BD, 0.5, negatives)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


POSITIVE_1 = torch.tensor([2.0])
NO_NEGATIVE = float("inf")


@pytest.mark.parametrize(
    ("negative", "nearest", "semi"),
    [
        ([1.0, 3.0, 4.0, NO_NEGATIVE], 1.0, 3.0),  # the nearest beyond the positive
        ([1.0, 0.5, NO_NEGATIVE, 1.5], 0.5, 1.5),  # none is beyond the positive: the farthest
        (
            [2.0, NO_NEGATIVE, 5.0, 9.0],
            2.0,
            5.0,
        ),  # a distance equal to the positive's is not beyond it
    ],
)
def test_negative_selection_matches_its_name(
    negative: list[float], nearest: float, semi: float
) -> None:
    negative_11 = torch.tensor([negative])
    assert hardest_negative(POSITIVE_1, negative_11).tolist() == [nearest]
    assert semi_hard_negative(POSITIVE_1, negative_11).tolist() == [semi]


def test_clips_beyond_the_margin_have_zero_loss() -> None:
    x = (2.0 * torch.eye(3)).requires_grad_()  # other clips are at a squared distance of 8
    for choose in (hardest_negative, semi_hard_negative):
        assert triplet_margin_loss(x, x, 8.0, choose).item() == 0.0
        assert math.isclose(triplet_margin_loss(x, x, 9.0, choose).item(), 1.0, rel_tol=1e-6)


def test_defaults_are_semi_hard_and_facenets_margin() -> None:
    task = hand.build(RGB).task
    assert (task.select_negative, task.margin) == (semi_hard_negative, 0.2)


def test_unknown_negatives_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="negatives must be hardest or semi_hard, got 'easy'"):
        hand.build(RGB, negatives="easy")


def test_views_are_two_clips_of_one_video() -> None:
    case = hand.build(RGB)
    checks.assert_clips_differ_in_time(case, ["0", "1"])
    assert case.views == hand.build(Term("simclr", Place((Stream.RGB,)))).views
