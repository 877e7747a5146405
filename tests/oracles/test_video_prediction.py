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
from tests.helpers.naive_pretext_losses import gradient_difference_loss

STREAMS = [Stream.RGB, Stream.GRAY, Stream.FLOW]


@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
@pytest.mark.parametrize("stream", STREAMS)
def test_loss_is_the_mean_squared_error_of_the_future(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("video_prediction", Place((stream,))), edge)
    predicted = case.task.decoder(batch["past"].maps["stage4"])
    expected = mean_squared_error(predicted, batch["future"].pixels)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
def test_gradient_difference_loss_is_added(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(
        Term("video_prediction", Place((stream,))), edge, gradient_difference=0.5
    )
    predicted, future = case.task.decoder(batch["past"].maps["stage4"]), batch["future"].pixels
    expected = mean_squared_error(predicted, future)
    expected += 0.5 * gradient_difference_loss(predicted, future)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])
def test_future_follows_the_past_directly(stream: Stream) -> None:
    case = real.build("video_prediction", stream)
    batch = real.build_batch(case.views, real.moving_bar(num=6))
    whole_BT = torch.cat([real.clock_BT(batch[name], stream) for name in ("past", "future")], dim=1)
    assert whole_BT.shape[1] == hand.FRAMES * 3 // 2
    steps_BT = whole_BT.diff(dim=1)
    torch.testing.assert_close(steps_BT, steps_BT[:, :1].expand_as(steps_BT), rtol=0.1, atol=0.02)
    assert (steps_BT > 0.3).all()


@pytest.mark.parametrize("stream", STREAMS)
def test_past_and_future_share_a_crop(stream: Stream) -> None:
    case = real.build("video_prediction", stream)
    batch = real.build_batch(case.views, real.moving_bar(num=6))
    past, future = batch["past"].applied, batch["future"].applied
    assert torch.equal(past.crop_B4, future.crop_B4)
    assert torch.equal(past.flipped_B, future.flipped_B)


@pytest.mark.parametrize(("frames", "future"), [(4, 2), (8, 4), (9, 4), (16, 8)])
def test_future_is_half_as_long_as_the_past(frames: int, future: int) -> None:
    shape = EncoderShape(8, {"stage4": (8, 1, 2, 2)}, (3, frames, 32, 32))
    task = load_catalogue()["video_prediction"](Place((Stream.RGB,), shapes={Stream.RGB: shape}))
    views = task.views()
    assert views["past"].time.frames == frames
    assert views["future"].time.frames == future
    assert views["future"].encoder is Role.NONE
