import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("simsiam", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_loss_equals_lightlys_and_the_papers_formula(stream: Stream, edge: str) -> None:
    case, batch = checks.build_edge_case(Term("simsiam", Place((stream,))), edge)
    task = case.task
    projected = [task.projector(batch[name].embedding_BD) for name in ("0", "1")]
    predicted = [task.predictor(x_BD) for x_BD in projected]
    cosine = NegativeCosineSimilarity()
    halves = (cosine(predicted[i], projected[1 - i].detach()) / 2 for i in (0, 1))
    expected = sum(halves, start=torch.zeros(()))
    loss = task.loss(batch)
    checks.assert_same(loss, expected, *(batch[name].embedding_BD for name in ("0", "1")))
    formula = naive_views.negative_cosine(torch.stack(predicted), torch.stack(projected))
    assert math.isclose(loss.item(), formula, rel_tol=1e-5, abs_tol=1e-9)


def test_no_gradient_reaches_the_target_side() -> None:
    """With detached predictions no gradient is left, because none passes through the target."""
    case = hand.build(RGB)
    batch = hand.make_batch(case.views)
    case.task.predictor.register_forward_hook(lambda module, args, output: output.detach())
    assert not case.task.loss(batch).requires_grad


def test_projector_and_predictor_are_the_papers() -> None:
    task = hand.build(RGB).task
    assert isinstance(task.projector[-1], torch.nn.BatchNorm1d)
    assert task.predictor[0].out_features == task.place.width // 4
    assert isinstance(task.predictor[-1], torch.nn.Linear)


def test_views_are_two_clips_of_one_video() -> None:
    case = hand.build(RGB)
    checks.assert_clips_differ_in_time(case, ["0", "1"])
    assert case.views == hand.build(Term("simclr", Place((Stream.RGB,)))).views
