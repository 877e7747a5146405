import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import SINGLE_VIEW_EDGES

CONFIDENT_LOGIT = 4.0
streams = pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY, Stream.AUDIO])


@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
@pytest.mark.parametrize("stream", list(Stream))
def test_loss_is_the_binary_cross_entropy_of_reversal(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("arrow_of_time", Place((stream,))), edge)
    clip, classifier = batch["clip"], case.task.classifier
    logit_B = clip.embedding_BD @ classifier.weight[0] + classifier.bias
    expected = naive.binary_cross_entropy(logit_B, clip.applied.reversed_B)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@streams
def test_positive_class_means_reversed_pixels(stream: Stream) -> None:
    """An encoder that knows the answer has the loss log(1 + e^-4), not log(1 + e^4)."""
    case = real.build("arrow_of_time", stream)
    real.return_first_feature(case.task.classifier)
    batch = real.build_batch(case.views, real.moving_bar())
    clock_BT = real.clock_BT(batch["clip"], stream)
    backwards_B = clock_BT[:, 0] > clock_BT[:, -1]
    assert 0 < backwards_B.sum() < len(backwards_B)
    embedding_BD = torch.zeros(len(backwards_B), case.task.place.width)
    embedding_BD[:, 0] = torch.where(backwards_B, CONFIDENT_LOGIT, -CONFIDENT_LOGIT)
    loss = case.task.loss(real.with_embedding(batch, "clip", embedding_BD))
    assert math.isclose(loss.item(), math.log1p(math.exp(-CONFIDENT_LOGIT)), rel_tol=1e-4)


def test_reversed_flow_changes_its_sign() -> None:
    case = real.build("arrow_of_time", Stream.FLOW)
    clip = real.build_batch(case.views, real.moving_bar(length=hand.FRAMES, speed=4))["clip"]
    right_B = clip.pixels[:, 0].mean(dim=(1, 2, 3))
    assert torch.equal(right_B < 0, clip.applied.reversed_B)
    assert 0 < clip.applied.reversed_B.sum() < len(right_B)


@streams
def test_no_view_is_shuffled_or_shifted(stream: Stream) -> None:
    case = real.build("arrow_of_time", stream)
    batch = real.build_batch(case.views, real.moving_bar(length=hand.FRAMES, speed=8))
    steps_BT = real.clock_BT(batch["clip"], stream).diff(dim=1)
    assert ((steps_BT > 0).all(dim=1) | (steps_BT < 0).all(dim=1)).all()
