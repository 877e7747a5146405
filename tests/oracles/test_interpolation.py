import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.task_loader import load_catalogue
from evossl.types import EncoderShape, Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import SINGLE_VIEW_EDGES
from tests.helpers.naive_losses import mean_squared_error

STREAMS = [Stream.RGB, Stream.GRAY, Stream.FLOW]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
def test_loss_is_the_mean_squared_error_of_middle_frames(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("interpolation", Place((stream,))), edge)
    predicted = case.task.decoder(batch["surrounding"].maps["stage4"])
    expected = mean_squared_error(predicted, batch["middle"].pixels)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])
def test_target_lies_between_the_two_shown_halves(stream: Stream) -> None:
    case = real.build("interpolation", stream)
    batch = real.build_batch(case.views, real.moving_bar(num=6))
    first_BT, last_BT = real.clock_BT(batch["surrounding"], stream).chunk(2, dim=1)
    whole_BT = torch.cat([first_BT, real.clock_BT(batch["middle"], stream), last_BT], dim=1)
    assert whole_BT.shape[1] == hand.FRAMES * 3 // 2
    steps_BT = whole_BT.diff(dim=1)
    torch.testing.assert_close(steps_BT, steps_BT[:, :1].expand_as(steps_BT), rtol=0.1, atol=0.02)
    assert (steps_BT > 0.3).all()
    assert torch.equal(batch["surrounding"].applied.crop_B4, batch["middle"].applied.crop_B4)


@pytest.mark.parametrize(("frames", "between", "before"), [(4, 2, 2), (9, 4, 5), (16, 8, 8)])
def test_half_as_many_frames_are_predicted_as_shown(frames: int, between: int, before: int) -> None:
    shape = EncoderShape(8, {"stage4": (8, 1, 2, 2)}, (3, frames, 32, 32))
    task = load_catalogue()["interpolation"](Place((Stream.RGB,), shapes={Stream.RGB: shape}))
    views = task.views()
    assert views["surrounding"].time.hole == views["middle"].time.frames == between
    assert views["middle"].time.offset == before
    assert views["middle"].encoder is Role.NONE
