import math

import pytest
import torch
from lightly.loss import BarlowTwinsLoss

from evossl.losses.redundancy import barlow_twins_loss
from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("barlow_twins", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("redundancy", [0.005, 0.3])
def test_loss_and_gradient_equal_lightlys(stream: Stream, edge: str, redundancy: float) -> None:
    term = Term("barlow_twins", Place((stream,)))
    case, batch = checks.build_edge_case(term, edge, redundancy=redundancy)
    leaves = [batch[name].embedding_BD for name in ("0", "1")]
    expected = BarlowTwinsLoss(redundancy)(*map(case.task.projector, leaves))
    checks.assert_same(case.task.loss(batch), expected, *leaves)


def test_default_weight_is_the_papers() -> None:
    case = hand.build(RGB)
    batch = hand.make_batch(case.views)
    x_BD, y_BD = (case.task.projector(batch[name].embedding_BD)[:, :8] for name in ("0", "1"))
    expected = naive_views.barlow_twins_loss(x_BD, y_BD, 5e-3)
    ours = barlow_twins_loss(x_BD, y_BD, case.task.redundancy).item()
    assert math.isclose(ours, expected, rel_tol=1e-5)


def test_equal_decorrelated_views_have_zero_loss() -> None:
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert math.isclose(barlow_twins_loss(x, x, 1.0).item(), 0.0, abs_tol=1e-8)
    assert math.isclose(barlow_twins_loss(x, -x, 1.0).item(), 8.0, rel_tol=1e-4)


@pytest.mark.parametrize("times", [1, 4])
def test_expansion_sets_the_width_of_the_head(times: int) -> None:
    task = hand.build(RGB, expansion=times).task
    linear = [m.out_features for m in task.projector if isinstance(m, torch.nn.Linear)]
    assert linear == [times * task.place.width] * 3


def test_expansion_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="expansion must be 1 or more, got 0"):
        hand.build(RGB, expansion=0)


def test_views_are_two_clips_of_one_video() -> None:
    case = hand.build(RGB)
    checks.assert_clips_differ_in_time(case, ["0", "1"])
    assert case.views == hand.build(Term("simclr", Place((Stream.RGB,)))).views
