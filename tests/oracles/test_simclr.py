import math

import pytest
import torch
from lightly.loss import NTXentLoss

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", list(Stream))
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_and_its_gradient_are_lightlys_and_the_papers_formula(
    stream: Stream, edge: str, temperature: float
) -> None:
    case, seen = checks.at_edge(Term("simclr", Place((stream,))), edge, temperature=temperature)
    leaves = [seen[draw].embedding_BD for draw in ("0", "1")]
    x_BD, y_BD = map(case.task.project, leaves)
    loss = case.task.loss(seen)
    checks.assert_same(loss, NTXentLoss(temperature)(x_BD, y_BD), *leaves)
    assert math.isclose(loss.item(), naive.nt_xent(x_BD, y_BD, temperature), rel_tol=1e-5)


def test_the_two_views_are_two_draws_of_one_clip() -> None:
    case = real.built("simclr", Stream.RGB)
    seen = real.see(case.views, real.moving_bar())
    first, second = seen["0"].applied, seen["1"].applied
    assert not torch.equal(first.start_B, second.start_B)
    assert not torch.equal(first.crop_B4, second.crop_B4)
    assert not torch.equal(seen["0"].pixels, seen["1"].pixels)


def test_without_options_the_temperature_is_the_video_papers() -> None:
    """Qian et al., CVPR 2021: 0.1."""
    case = hand.build(Term("simclr", Place((Stream.RGB,))))
    seen = hand.show(case.views)
    x_BD, y_BD = (case.task.project(seen[draw].embedding_BD) for draw in ("0", "1"))
    assert math.isclose(case.task.loss(seen).item(), naive.nt_xent(x_BD, y_BD, 0.1), rel_tol=1e-5)
