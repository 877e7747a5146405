import math
from typing import get_args

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from evossl.config import Ignore
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import View
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES
from tests.helpers.naive_losses import rows

PLACES = [(Stream.RGB,), (Stream.RGB, Stream.FLOW), (Stream.RGB, Stream.AUDIO)]
each_place = pytest.mark.parametrize("streams", PLACES, ids="+".join)


def built(streams: tuple[Stream, ...], **options: object) -> hand.Case:
    return hand.build(Term("brave", Place(streams)), **options)


def cosine(x: list[float], y: list[float]) -> float:
    """Return the cosine; vectors shorter than 1e-4 are not scaled up to unit length."""
    lengths = [max(math.sqrt(sum(a * a for a in z)), 1e-4) for z in (x, y)]
    return sum(a * b for a, b in zip(x, y, strict=True)) / (lengths[0] * lengths[1])


def regression(prediction_BD: Tensor, target_BD: Tensor) -> float:
    """Return the mean of 1 - cosine, half the squared distance on the unit sphere."""
    both = zip(rows(prediction_BD), rows(target_BD), strict=True)
    return sum(1 - cosine(h, z) for h, z in both) / len(target_BD)


def expected(case: hand.Case, batch: TaskBatch) -> float:
    project, predict = case.task.projector, case.task.predictor
    z_n, z_b = (project[name](batch[name].embedding_BD) for name in ("narrow", "broad"))
    forth = regression(predict["narrow"](z_n), z_b)
    back = regression(predict["broad"](z_b), z_n)
    return (forth + back) / 2


@each_place
@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge != "identical views"])
def test_loss_equals_its_formula(streams: tuple[Stream, ...], edge: str) -> None:
    case, batch = checks.build_edge_case(Term("brave", Place(streams)), edge)
    assert math.isclose(case.task.loss(batch).item(), expected(case, batch), rel_tol=1e-5)


@each_place
def test_loss_and_gradient_equal_lightlys(
    streams: tuple[Stream, ...],
) -> None:
    case, batch = checks.build_edge_case(Term("brave", Place(streams)), "random")
    leaves = [batch[name].embedding_BD for name in ("narrow", "broad")]
    task, cosine_loss = case.task, NegativeCosineSimilarity()
    z_n, z_b = (
        task.projector[name](x) for name, x in zip(("narrow", "broad"), leaves, strict=True)
    )
    forth = cosine_loss(task.predictor["narrow"](z_n), z_b.detach())
    back = cosine_loss(task.predictor["broad"](z_b), z_n.detach())
    checks.assert_same(task.loss(batch), 1 + (forth + back) / 2, *leaves)


def test_loss_of_identical_views_equals_its_formula() -> None:
    case, batch = checks.build_edge_case(Term("brave", Place((Stream.RGB,))), "identical views")
    assert math.isclose(case.task.loss(batch).item(), expected(case, batch), rel_tol=1e-5)


def test_perfect_prediction_has_zero_loss() -> None:
    case, batch = checks.build_edge_case(Term("brave", Place((Stream.RGB,))), "identical views")
    task = case.task
    task.projector["broad"].load_state_dict(task.projector["narrow"].state_dict())
    task.predictor = torch.nn.ModuleDict({n: torch.nn.Identity() for n in ("narrow", "broad")})
    assert abs(task.loss(batch).item()) < 1e-5


@each_place
def test_gradient_reaches_predictions_not_targets(streams: tuple[Stream, ...]) -> None:
    """With constant predictions, a gradient could only come from the targets."""
    case = built(streams)
    batch = hand.make_batch(case.views)
    leaves = [batch[name].embedding_BD for name in ("narrow", "broad")]
    learning = torch.autograd.grad(case.task.loss(batch), leaves)
    assert all(slope.abs().sum() > 0 for slope in learning)
    for predict in case.task.predictor.values():
        torch.nn.init.zeros_(predict[-1].weight)
    constant = torch.autograd.grad(case.task.loss(batch), leaves)
    assert all((slope == 0).all() for slope in constant)


@each_place
@pytest.mark.parametrize("synchronised", [False, True])
def test_broad_view_starts_with_the_narrow_if_synchronised(
    streams: tuple[Stream, ...], synchronised: bool
) -> None:
    case = built(streams, synchronised=synchronised, broad_stride=2)
    batch = real.build_batch(case.views, real.moving_bar(num=12))
    narrow, broad = batch["narrow"].applied, batch["broad"].applied
    assert torch.equal(narrow.start_B, broad.start_B) == synchronised
    assert (narrow.stride_B == 1).all()
    assert (broad.stride_B == 2).all()
    assert not torch.equal(narrow.crop_B4, broad.crop_B4)


@each_place
def test_ignores_change_neither_synchrony_nor_strides(
    streams: tuple[Stream, ...],
) -> None:
    case = built(streams, synchronised=True, broad_stride=2)
    batch = real.build_batch(case.views, real.moving_bar(num=40), ignores=get_args(Ignore))
    narrow, broad = batch["narrow"].applied, batch["broad"].applied
    assert torch.equal(narrow.start_B, broad.start_B)
    assert set(narrow.stride_B.tolist()) == {1}
    assert set(broad.stride_B.tolist()) == {2}


@each_place
def test_narrow_view_is_rgb_and_broad_view_the_other(streams: tuple[Stream, ...]) -> None:
    views: dict[str, View] = dict(built(streams).views)
    assert list(views) == ["narrow", "broad"]
    assert views["narrow"].stream is Stream.RGB
    assert views["broad"].stream is streams[-1]
    assert views["broad"].time.stride == (3,)


def test_broad_stride_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="broad_stride must be 1 or more"):
        built((Stream.RGB,), broad_stride=0)
