"""The options of SimCLR that make it rho-SimCLR."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import nn

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("simclr", Place((Stream.RGB,)))


@pytest.mark.parametrize("rho", [1, 2, 3, 4])
@pytest.mark.parametrize("edge", EDGES)
def test_loss_is_the_mean_over_all_ordered_pairs(rho: int, edge: str) -> None:
    options = {"rho": rho, "hidden_layers": 2, "temperature": 0.3}
    case, batch = checks.build_edge_case(RGB, edge, **options)
    projections = [case.task.projector(batch[name].embedding_BD) for name in case.views]
    expected = naive_views.multi_view_nt_xent(torch.stack(projections), 0.3)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("rho", [1, 2])
def test_two_views_give_lightlys_loss_and_gradient(rho: int) -> None:
    case, batch = checks.build_edge_case(RGB, "random", rho=rho, hidden_layers=2)
    projections = [case.task.projector(batch[name].embedding_BD) for name in ("0", "1")]
    leaves = (batch[name].embedding_BD for name in ("0", "1"))
    checks.assert_same(case.task.loss(batch), NTXentLoss(0.1)(*projections), *leaves)


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
def test_projector_has_as_many_hidden_layers_as_set(hidden_layers: int) -> None:
    projector = hand.build(RGB, hidden_layers=hidden_layers).task.projector
    assert sum(isinstance(layer, nn.ReLU) for layer in projector) == hidden_layers
    assert sum(isinstance(layer, nn.Linear) for layer in projector) == hidden_layers + 1


@pytest.mark.parametrize("rho", [3, 4])
def test_clips_of_a_video_differ_in_time(rho: int) -> None:
    case = hand.build(RGB, rho=rho)
    assert list(case.views) == [str(draw) for draw in range(rho)]
    checks.assert_clips_differ_in_time(case, list(case.views))


def test_rho_of_1_gives_two_views_of_one_clip() -> None:
    checks.assert_views_share_time(hand.build(RGB, rho=1), ["0", "1"])


@pytest.mark.parametrize("rho", [0, 5])
def test_rho_out_of_range_is_refused(rho: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4, got {rho}"):
        hand.build(RGB, rho=rho)
