import math

import pytest
import torch
from lightly.loss import VICRegLoss

from evossl.losses.redundancy import vicreg_loss
from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("vicreg", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 2.0, 30.0)])
def test_loss_and_gradient_equal_lightlys(
    stream: Stream, edge: str, weights: tuple[float, float, float]
) -> None:
    names = ("invariance", "variance", "covariance")
    options = dict(zip(names, weights, strict=True))
    case, batch = checks.build_edge_case(Term("vicreg", Place((stream,))), edge, **options)
    leaves = [batch[name].embedding_BD for name in ("0", "1")]
    expected = VICRegLoss(*weights)(*map(case.task.projector, leaves))
    checks.assert_same(case.task.loss(batch), expected, *leaves)


def test_default_weights_are_the_papers() -> None:
    assert hand.build(RGB).task.weights == (25.0, 25.0, 1.0)


def test_equal_decorrelated_views_have_zero_loss() -> None:
    x = 2.0 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert math.isclose(vicreg_loss(x, x, 25.0, 25.0, 1.0).item(), 0.0, abs_tol=1e-8)


def test_equal_features_cost_their_covariance() -> None:
    """(2, 2, -2, -2) has variance 16 / 3; both views have two off-diagonal squares, over D = 2."""
    x = 2.0 * torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, -1.0]])
    assert math.isclose(vicreg_loss(x, x, 25.0, 25.0, 1.0).item(), 2 * (16 / 3) ** 2, rel_tol=1e-6)


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
