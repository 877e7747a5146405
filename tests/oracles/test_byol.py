import math
from pathlib import Path

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from evossl.task import Place, Term
from evossl.types import EncoderShape, Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("byol", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_loss_equals_lightlys_and_the_papers_formula(stream: Stream, edge: str) -> None:
    """|q - z|^2 of unit vectors is 2 - 2 cos, averaged over both directions."""
    case, batch = checks.build_edge_case(Term("byol", Place((stream,))), edge)
    task = case.task
    predicted = [task.predictor(task.projector(batch[n].embedding_BD)) for n in ("0", "1")]
    with torch.no_grad():
        target = [
            task.target_projector(batch[n].embedding_BD) for n in ("momentum 0", "momentum 1")
        ]
    cosine = NegativeCosineSimilarity()
    expected = 2 + cosine(predicted[0], target[1]) + cosine(predicted[1], target[0])
    loss = case.task.loss(batch)
    checks.assert_same(loss, expected, *(batch[name].embedding_BD for name in ("0", "1")))
    formula = naive_views.negative_cosine(torch.stack(predicted), torch.stack(target))
    assert math.isclose(loss.item(), 2 + 2 * formula, rel_tol=1e-5, abs_tol=1e-9)


def test_loss_is_0_for_perfect_and_4_for_opposite() -> None:
    case, batch = checks.build_edge_case(RGB, "identical views")
    task = case.task
    task.predictor = torch.nn.Identity()
    assert math.isclose(case.task.loss(batch).item(), 0.0, abs_tol=1e-9)
    task.predictor = Minus()
    assert math.isclose(case.task.loss(batch).item(), 4.0, rel_tol=1e-5)


class Minus(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_only_the_projector_has_a_momentum_copy() -> None:
    task = hand.build(RGB).task
    checks.assert_momentum_heads_start_equal(task, 1)
    assert next(task.momentum_heads) == (task.projector, task.target_projector)


def test_both_encoders_see_the_same_views() -> None:
    case = hand.build(RGB)
    assert list(case.views) == ["0", "1", "momentum 0", "momentum 1"]
    checks.assert_momentum_views_match_student(case)
    checks.assert_clips_differ_in_time(case, ["0", "1"])


def test_checkpoint_restores_the_target_projector(tmp_path: Path) -> None:
    checks.assert_checkpoint_restores_task(RGB, tmp_path)


@pytest.mark.parametrize(
    ("width", "projector", "predictor"),
    [
        (2048, [(2048, 4096), (4096, 256)], [(256, 4096), (4096, 256)]),
        (64, [(64, 128), (128, 64)], [(64, 128), (128, 64)]),
    ],
)
def test_heads_have_the_papers_proportions(
    width: int, projector: list[tuple[int, int]], predictor: list[tuple[int, int]]
) -> None:
    """The paper: 4096 hidden and 256 projected features for embeddings of width 2048."""

    def sizes(head: torch.nn.Module) -> list[tuple[int, int]]:
        linear = (m for m in head.modules() if isinstance(m, torch.nn.Linear))
        return [(m.in_features, m.out_features) for m in linear]

    shape = EncoderShape(width, {}, (3, 8, 32, 32))
    task = hand.CATALOGUE["byol"](Place((Stream.RGB,), shapes={Stream.RGB: shape}))
    assert sizes(task.projector) == projector
    assert sizes(task.predictor) == predictor
