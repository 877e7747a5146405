import math
from pathlib import Path

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from evossl.task import Place, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_multi_view_losses as naive_views
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES

RGB = Term("byol", Place((Stream.RGB,)))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_the_loss_and_its_gradient_are_lightlys_and_the_papers_formula(
    stream: Stream, edge: str
) -> None:
    """|q - z|^2 of unit vectors is 2 - 2 cos, averaged over both directions."""
    case, seen = checks.at_edge(Term("byol", Place((stream,))), edge)
    heads = case.task.bootstrap
    predicted = [heads.predict(heads.project(seen[n].embedding_BD)) for n in ("0", "1")]
    with torch.no_grad():
        target = [heads.target(seen[n].embedding_BD) for n in ("slow 0", "slow 1")]
    cosine = NegativeCosineSimilarity()
    expected = 2 + cosine(predicted[0], target[1]) + cosine(predicted[1], target[0])
    loss = case.task.loss(seen)
    checks.assert_same(loss, expected, *(seen[name].embedding_BD for name in ("0", "1")))
    formula = naive_views.negative_cosine(torch.stack(predicted), torch.stack(target))
    assert math.isclose(loss.item(), 2 + 2 * formula, rel_tol=1e-5, abs_tol=1e-9)


def test_perfect_predictions_cost_nothing_and_opposite_ones_4() -> None:
    case, seen = checks.at_edge(RGB, "identical views")
    heads = case.task.bootstrap
    heads.predict = torch.nn.Identity()
    assert math.isclose(case.task.loss(seen).item(), 0.0, abs_tol=1e-9)
    heads.predict = Minus()
    assert math.isclose(case.task.loss(seen).item(), 4.0, rel_tol=1e-5)


class Minus(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_the_projector_alone_has_a_follower_which_begins_as_it() -> None:
    task = hand.build(RGB).task
    checks.assert_followers_begin_as_what_they_follow(task, 1)
    assert next(task.followers) == (task.bootstrap.project, task.bootstrap.target)


def test_both_encoders_see_the_same_two_draws() -> None:
    case = hand.build(RGB)
    assert list(case.views) == ["0", "1", "slow 0", "slow 1"]
    checks.assert_slow_views_are_the_students(case)
    checks.assert_clips_are_of_different_times(case, ["0", "1"])


def test_a_checkpoint_keeps_the_slow_projector(tmp_path: Path) -> None:
    checks.assert_a_checkpoint_keeps_it(RGB, tmp_path)


def test_heads_are_the_papers_at_its_width_and_narrow_with_the_encoder() -> None:
    """4096 hidden and 256 projected features on 2048."""
    from evossl.models.heads.bootstrap import Bootstrap

    def sizes(head: torch.nn.Module) -> list[tuple[int, int]]:
        linear = (m for m in head.modules() if isinstance(m, torch.nn.Linear))
        return [(m.in_features, m.out_features) for m in linear]

    assert sizes(Bootstrap(2048).project) == [(2048, 4096), (4096, 256)]
    assert sizes(Bootstrap(2048).predict) == [(256, 4096), (4096, 256)]
    assert sizes(Bootstrap(64).project) == [(64, 128), (128, 64)]
