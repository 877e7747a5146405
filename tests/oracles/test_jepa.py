import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.prediction import masked_feature_loss, masked_fraction
from evossl.models.heads.map_predictor import MapPredictor
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand

STREAMS = [Stream.RGB, Stream.GRAY, Stream.FLOW]
EDGES = ("random", "two clips", "identical views", "a collapsed view")
each_stream = pytest.mark.parametrize("stream", STREAMS)


def built(stream: Stream) -> hand.Case:
    return hand.build(Term("jepa", Place((stream,))))


def make_edge_batch(edge: str, case: hand.Case) -> TaskBatch:
    batch = hand.make_batch(case.views, num=2 if edge == "two clips" else 4)
    student, target = (batch[name].maps["stage4"] for name in ("masked", "full"))
    with torch.no_grad():
        if edge == "identical views":
            target.copy_(student)
        if edge == "a collapsed view":
            target.fill_(2.0)
    return batch


def draw(*size: int) -> Tensor:
    return torch.randn(size, generator=Generator().manual_seed(0), dtype=torch.float64)


def expected(predicted: Tensor, target: Tensor, share: Tensor) -> float:
    """Return sum_i w_i mean_c |p - (y - mean_c y) / sqrt(var_c y + 1e-5)| / sum_i w_i."""
    p, y, w = (x.detach().double().numpy() for x in (predicted, target, share))
    total, weight = 0.0, 0.0
    for b, t, h, k in np.ndindex(*w.shape):
        wanted = y[b, :, t, h, k]
        wanted = (wanted - wanted.mean()) / math.sqrt(wanted.var() + 1e-5)
        total += w[b, t, h, k] * np.abs(p[b, :, t, h, k] - wanted).mean()
        weight += w[b, t, h, k]
    return total / weight


@each_stream
@pytest.mark.parametrize("edge", EDGES)
def test_loss_equals_its_formula(stream: Stream, edge: str) -> None:
    case = built(stream)
    batch = make_edge_batch(edge, case)
    mask_BTHW = batch["masked"].applied.mask_BTHW
    share_BTHW = mask_BTHW.float().mean(dim=1, keepdim=True).unflatten(2, (2, 2)).mean(dim=3)
    share_BTHW = share_BTHW.unflatten(3, (2, 2)).mean(dim=4)  # 4 steps of 4 x 4 to 1 of 2 x 2
    predicted = case.task.predictor(batch["masked"].maps["stage4"], share_BTHW)
    wanted = expected(predicted, batch["full"].maps["stage4"], share_BTHW)
    assert math.isclose(case.task.loss(batch).item(), wanted, rel_tol=1e-5)


def test_masked_fraction_works_for_any_map_size() -> None:
    mask_BTHW = torch.tensor([[True, False], [False, False]]).view(1, 1, 2, 2)
    assert masked_fraction(mask_BTHW, (1, 1, 1)).item() == 0.25
    fine = masked_fraction(mask_BTHW, (2, 4, 4))
    assert fine.shape == (1, 2, 4, 4)
    assert (fine[0, :, :2, :2] == 1).all()
    assert fine.sum() == 8


def test_visible_positions_have_no_loss() -> None:
    share_BTHW = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    share_BTHW[..., 0] = 1.0
    x_BCTHW, y_BCTHW = draw(2, 1, 3, 1, 2, 2)
    x_BCTHW.requires_grad_()
    masked_feature_loss(x_BCTHW, y_BCTHW, share_BTHW).backward()
    assert (x_BCTHW.grad[..., 0] != 0).all()
    assert (x_BCTHW.grad[..., 1] == 0).all()


def test_gradient_matches_finite_differences() -> None:
    share_BTHW = draw(2, 1, 2, 2).sigmoid()
    x_BCTHW, y_BCTHW = draw(2, 2, 3, 1, 2, 2)
    loss = lambda x: masked_feature_loss(x, y_BCTHW, share_BTHW)  # noqa: E731
    assert gradcheck(loss, (x_BCTHW.requires_grad_(),))


def test_empty_mask_has_zero_loss() -> None:
    x_BCTHW, y_BCTHW = draw(2, 2, 3, 1, 2, 2)
    assert masked_feature_loss(x_BCTHW, y_BCTHW, torch.zeros(2, 1, 2, 2)) == 0


@each_stream
def test_gradient_reaches_the_student_and_not_the_target(stream: Stream) -> None:
    case = built(stream)
    batch = hand.make_batch(case.views)
    case.task.loss(batch).backward()
    assert batch["masked"].maps["stage4"].grad.abs().sum() > 0
    assert batch["full"].maps["stage4"].grad is None


def test_masked_positions_are_predicted_from_visible_ones() -> None:
    """The encoder's features there are replaced by the mask token."""
    torch.manual_seed(0)
    predict = MapPredictor(6).eval()
    share_BTHW = torch.zeros(1, 1, 3, 3)
    share_BTHW[..., 1, 1] = 1.0
    map_BCTHW = draw(1, 6, 1, 3, 3).float()
    before = predict(map_BCTHW, share_BTHW)
    for place, matters in [((1, 1), False), ((0, 2), True)]:
        other = map_BCTHW.clone()
        other[..., place[0], place[1]] += 1.0
        assert (not torch.allclose(predict(other, share_BTHW), before)) == matters


@each_stream
def test_momentum_encoder_sees_the_unmasked_clip(
    stream: Stream,
) -> None:
    views = built(stream).views
    assert views["full"].encoder is Role.MOMENTUM
    assert views["masked"].encoder is Role.STUDENT
    assert views["masked"].mask.patch == hand.SIZE // 4
    generative = hand.build(Term("generative", Place((stream,)))).views
    assert views["full"].input_key == generative["full"].input_key
