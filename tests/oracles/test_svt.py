import math
from itertools import combinations

import pytest
import torch
from lightly.loss import DINOLoss
from torch import Tensor
from torch.nn import functional as F

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES, head_outputs, make_edge_batch

MATCHINGS = ("l->g", "g->g", "l->l", "g->l")
OPTIONS = {
    "prototypes": 12,
    "local_crops": 3,
    "teacher_temperature": 0.07,
    "temperature_warmup": 0.2,
}
RGB = Term("svt", Place((Stream.RGB,)))
SOME = [chosen for n in range(1, 5) for chosen in combinations(MATCHINGS, n)]
WHOLE = ["0", "1"]


def scores(case: hand.Case, batch: TaskBatch, encoder: str, kinds: str) -> dict[str, Tensor]:
    """Return scores (B, K) of an encoder's views "g0", "g1", "l0", ..., with torch's cosine."""
    head = case.task.student_head if encoder == "student" else case.task.teacher_head

    def cosines(x_BD: Tensor) -> Tensor:
        return F.cosine_similarity(head.projector(x_BD)[:, None], head.prototypes.weight, dim=-1)

    given = {}
    for kind, names in (("g", WHOLE), ("l", ["local"])):
        if kind in kinds:
            each = head_outputs(cosines, batch, [f"{encoder} {name}" for name in names])
            given |= {f"{kind}{i}": x for i, x in enumerate(each)}
    return given


def expected_loss(case: hand.Case, batch: TaskBatch, matchings: tuple[str, ...]) -> float:
    """Return the mean cross entropy with centred, sharpened targets over all matched pairs."""
    student = scores(case, batch, "student", "".join(m[0] for m in matchings))
    teacher = scores(case, batch, "momentum", "".join(m[-1] for m in matchings))
    centre_K = case.task.centre.mean_K.tolist()
    target_GBK = torch.tensor(
        [
            [
                naive.softmax([(a - c) / 0.07 for a, c in zip(row, centre_K, strict=True)])
                for row in naive.rows(score_BK)
            ]
            for score_BK in teacher.values()
        ]
    )
    matched_GV = torch.tensor(
        [[f"{v[0]}->{g[0]}" in matchings and v != g for v in student] for g in teacher]
    )
    return naive.multi_view_cross_entropy(
        torch.stack(list(student.values())) / 0.1, target_GBK, matched_GV
    )


@pytest.mark.parametrize("matchings", SOME, ids=",".join)
def test_loss_of_any_matchings_equals_its_formula(matchings: tuple[str, ...]) -> None:
    case = hand.build(RGB, matchings=list(matchings), **OPTIONS)
    case.task.after_step(hand.make_batch(case.views, seed=5))  # makes the centre non-zero
    batch = hand.make_batch(case.views)
    expected = expected_loss(case, batch, matchings)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("edge", EDGES)
def test_default_matchings_give_lightlys_dino_loss(edge: str) -> None:
    """The paper's loss is DINO's, with views that also differ in time."""
    case = hand.build(RGB, **OPTIONS)
    case.task.double()
    batch = make_edge_batch(edge, case.views)
    ours = case.task.loss(batch)
    student = list(scores(case, batch, "student", "gl").values())
    with torch.no_grad():
        teacher = list(scores(case, batch, "momentum", "g").values())
    theirs = DINOLoss(OPTIONS["prototypes"]).double()(teacher, student, teacher_temp=0.07)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    leaves = [batch[name].embedding_BD for name in case.views if "student" in name]
    for mine, wanted in zip(*(torch.autograd.grad(x, leaves) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("matchings", "views"),
    [
        (["l->g"], {"student local", "momentum 0", "momentum 1"}),
        (["g->g"], {"student 0", "student 1", "momentum 0", "momentum 1"}),
        (["l->l"], {"student local", "momentum local"}),
        (["g->l"], {"student 0", "student 1", "momentum local"}),
    ],
)
def test_only_matched_views_are_requested(matchings: list[str], views: set[str]) -> None:
    assert set(hand.build(RGB, matchings=matchings).views) == views


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"matchings": ["l->x"]}, "matchings must be some of l->g, g->g"),
        ({"matchings": []}, "matchings must be some of l->g, g->g"),
        ({"matchings": "l->g"}, "matchings must be some of l->g, g->g"),
        ({"local_crops": 0}, "need local_crops of 1 or more"),
        ({"matchings": ["l->l"], "local_crops": 1}, "need local_crops of 2 or more"),
    ],
)
def test_impossible_matchings_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        hand.build(RGB, **options)


def test_local_views_lie_in_the_slow_global_view() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = real.build_batch(case.views, real.moving_bar())
    first, second, local = (batch[f"student {name}"].applied for name in ("0", "1", "local"))
    assert first.stride_B.unique().tolist() == [1]
    assert second.stride_B.unique().tolist() == [2, 4]
    assert batch["student local"].pixels.shape[1:] == (3, 3, 4, 16, 16)
    begins_B1 = second.start_B[:, None]
    last_B1 = begins_B1 + (hand.FRAMES * second.stride_B)[:, None]
    assert (local.start_B >= begins_B1).all()
    assert (local.start_B + 4 <= last_B1).all()


def test_teacher_and_student_see_the_same_pixels() -> None:
    views = hand.build(RGB, matchings=list(MATCHINGS)).views
    for name in ("0", "1", "local"):
        assert views[f"momentum {name}"].encoder is Role.MOMENTUM
        assert views[f"momentum {name}"].input_key == views[f"student {name}"].input_key


def test_checkpoint_restores_centre_and_teacher() -> None:
    case, other = (hand.build(RGB, seed, **OPTIONS) for seed in (0, 1))
    case.task.after_step(hand.make_batch(case.views))
    other.task.load_state_dict(case.task.state_dict())
    batch = hand.make_batch(case.views, seed=2)
    assert case.task.centre.mean_K.abs().max() > 0
    assert torch.equal(other.task.loss(batch), case.task.loss(batch))


def test_last_layer_is_frozen_at_the_start() -> None:
    task = hand.build(RGB).task
    for progress, held in ((0.0, True), (0.5, False)):
        task.loss(hand.make_batch(task.views())).backward()
        task.after_backward(progress)
        assert (task.student_head.prototypes.weight.grad is None) == held
