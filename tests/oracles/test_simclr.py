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
def test_loss_equals_lightlys_and_the_papers_formula(
    stream: Stream, edge: str, temperature: float
) -> None:
    case, batch = checks.build_edge_case(
        Term("simclr", Place((stream,))), edge, temperature=temperature
    )
    leaves = [batch[draw].embedding_BD for draw in ("0", "1")]
    x_BD, y_BD = map(case.task.projector, leaves)
    loss = case.task.loss(batch)
    checks.assert_same(loss, NTXentLoss(temperature)(x_BD, y_BD), *leaves)
    assert math.isclose(loss.item(), naive.nt_xent(x_BD, y_BD, temperature), rel_tol=1e-5)


def test_views_are_two_clips_of_one_video() -> None:
    case = real.build("simclr", Stream.RGB)
    batch = real.build_batch(case.views, real.moving_bar())
    first, second = batch["0"].applied, batch["1"].applied
    assert not torch.equal(first.start_B, second.start_B)
    assert not torch.equal(first.crop_B4, second.crop_B4)
    assert not torch.equal(batch["0"].pixels, batch["1"].pixels)


def test_default_temperature_is_the_video_papers() -> None:
    """Qian et al., CVPR 2021, use 0.1."""
    case = hand.build(Term("simclr", Place((Stream.RGB,))))
    batch = hand.make_batch(case.views)
    x_BD, y_BD = (case.task.projector(batch[draw].embedding_BD) for draw in ("0", "1"))
    assert math.isclose(case.task.loss(batch).item(), naive.nt_xent(x_BD, y_BD, 0.1), rel_tol=1e-5)
