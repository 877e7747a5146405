import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.task_loader import load_catalogue
from evossl.types import EncoderShape, Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import SINGLE_VIEW_EDGES

CONFIDENT_LOGIT = 4.0


@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
@pytest.mark.parametrize("stream", list(Stream))
def test_loss_is_the_binary_cross_entropy_of_shuffling(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("order_binary", Place((stream,))), edge)
    clip, classifier = batch["clip"], case.task.classifier
    logit_B = clip.embedding_BD @ classifier.weight[0] + classifier.bias
    expected = naive.binary_cross_entropy(logit_B, clip.applied.shuffled_B)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY, Stream.AUDIO])
def test_positive_class_means_shuffled_pixels(
    stream: Stream,
) -> None:
    """An encoder that knows the answer has the loss log(1 + e^-4), not log(1 + e^4)."""
    case = real.build("order_binary", stream)
    real.return_first_feature(case.task.classifier)
    length = hand.FRAMES * 7 // 4  # gaps between segments included
    clips = real.moving_bar(length=length, speed=8)
    batch = real.build_batch(case.views, clips)
    steps_BT = real.clock_BT(batch["clip"], stream).diff(dim=1)
    slack = 0 if stream is Stream.AUDIO else 1
    # Within a segment the jitter of a pixel can hide a step; between segments the bar moves far.
    forwards_B, backwards_B = (steps_BT > -slack).all(dim=1), (steps_BT < slack).all(dim=1)
    assert 0 < forwards_B.sum() < len(forwards_B)
    assert not backwards_B.any()
    embedding_BD = torch.zeros(len(forwards_B), case.task.place.width)
    embedding_BD[:, 0] = torch.where(forwards_B, -CONFIDENT_LOGIT, CONFIDENT_LOGIT)
    loss = case.task.loss(real.with_embedding(batch, "clip", embedding_BD))
    assert math.isclose(loss.item(), math.log1p(math.exp(-CONFIDENT_LOGIT)), rel_tol=1e-4)


@pytest.mark.parametrize(("frames", "segments"), [(3, 3), (6, 3), (7, 7), (8, 4), (10, 5), (32, 4)])
def test_number_of_segments_is_the_divisor_nearest_4(frames: int, segments: int) -> None:
    shape = EncoderShape(8, {"stage4": (8, 1, 1, 1)}, (3, frames, 32, 32))
    task = load_catalogue()["order_binary"](Place((Stream.RGB,), shapes={Stream.RGB: shape}))
    assert task.views()["clip"].time.segments == segments


@pytest.mark.parametrize(("stream", "jitters"), [(Stream.RGB, True), (Stream.FLOW, False)])
def test_frames_are_jittered_but_flow_is_not(stream: Stream, jitters: bool) -> None:
    """Otherwise joints between segments would stand out. The flow of a still clip stays 0."""
    case = real.build("order_binary", stream)
    still = real.build_batch(case.views, real.moving_bar(num=4, speed=0))["clip"].pixels
    is_equal = torch.allclose(still, still[:, :, :1].expand_as(still), atol=1e-3)
    assert is_equal != jitters
