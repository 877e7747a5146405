import math

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.distillation import distillation_loss
from evossl.losses.redundancy import standardise_features
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import oracle_checks as checks
from tests.helpers.loss_edge_cases import EDGES
from tests.helpers.naive_losses import mean_squared_error, rows, softmax

TEMPERATURE = 0.7
OPTIONS = {"temperature": TEMPERATURE, "num_classes": 12}
TERMS = ["logits", "features"]
each_term = pytest.mark.parametrize("variant", TERMS)


def term(variant: str) -> Term:
    return Term("knowledge_distillation", Place((Stream.RGB,), variant=variant))


def built(variant: str) -> hand.Case:
    return hand.build(term(variant), **OPTIONS)


def divergence(given: list[list[float]], teacher: list[list[float]], temperature: float) -> float:
    """Return T^2 times the mean of sum_k p log(p / q)."""
    total = 0.0
    for q_logit, p_logit in zip(given, teacher, strict=True):
        p, q = (softmax([a / temperature for a in x]) for x in (p_logit, q_logit))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(given)


def standardise_naively(x_BD: Tensor) -> list[list[float]]:
    """Return (x - mean) / sqrt(variance + 1e-5) of each feature."""
    columns = []
    for column in zip(*rows(x_BD), strict=True):
        mean = sum(column) / len(column)
        variance = sum((a - mean) ** 2 for a in column) / len(column)
        columns.append([(a - mean) / math.sqrt(variance + 1e-5) for a in column])
    return [list(row) for row in zip(*columns, strict=True)]


def expected(case: hand.Case, batch: TaskBatch, variant: str) -> float:
    given_BK = case.task.head(batch["student"].embedding_BD)
    teacher = standardise_naively(batch["teacher"].embedding_BD)
    if variant == "features":
        return mean_squared_error(given_BK, torch.tensor(teacher, dtype=torch.float64))
    logits = [
        [sum(a * b for a, b in zip(x, way, strict=True)) for way in rows(case.task.direction_KD)]
        for x in teacher
    ]
    return divergence(rows(given_BK), logits, TEMPERATURE)


@each_term
@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge != "identical views"])
def test_loss_equals_its_formula(variant: str, edge: str) -> None:
    case, batch = checks.build_edge_case(term(variant), edge, **OPTIONS)
    assert math.isclose(case.task.loss(batch).item(), expected(case, batch, variant), rel_tol=1e-5)


def test_constant_teacher_gives_zero_targets() -> None:
    batch = hand.make_batch(built("logits").views)
    same_BD = torch.ones_like(batch["teacher"].embedding_BD)
    assert (standardise_features(same_BD) == 0).all()
    assert distillation_loss(torch.zeros(6, 12), torch.zeros(6, 12), TEMPERATURE) == 0


def test_loss_is_zero_only_for_equal_probabilities() -> None:
    logit_BK = torch.randn(4, 5, generator=Generator().manual_seed(0))
    assert (
        abs(distillation_loss(logit_BK + 3, logit_BK, 0.5)) < 1e-6
    )  # logits may differ by a constant per clip
    assert distillation_loss(logit_BK.roll(1, dims=0), logit_BK, 0.5) > 0.1


def test_high_temperature_limit_is_a_squared_error() -> None:
    """Hinton et al., equation 4: over K classes, 1 / (2 K) sum_k (z_k - v_k)^2."""
    z_BK, v_BK = torch.randn(2, 4, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    difference_BK = (z_BK - z_BK.mean(1, keepdim=True)) - (v_BK - v_BK.mean(1, keepdim=True))
    limit = difference_BK.square().sum(dim=1).mean() / (2 * 5)
    torch.testing.assert_close(distillation_loss(z_BK, v_BK, 1e4), limit, rtol=1e-3, atol=0)


def test_gradients_match_finite_differences() -> None:
    x_BK, y_BK = torch.randn(2, 3, 4, generator=Generator().manual_seed(0), dtype=torch.float64)
    x_BK.requires_grad_()
    assert gradcheck(lambda x: distillation_loss(x, y_BK, 0.5), (x_BK,))
    assert gradcheck(standardise_features, (x_BK,))


@each_term
def test_gradient_reaches_the_student_and_not_the_teacher(variant: str) -> None:
    case = built(variant)
    batch = hand.make_batch(case.views)
    case.task.loss(batch).backward()
    assert batch["student"].embedding_BD.grad.abs().sum() > 0
    assert batch["teacher"].embedding_BD.grad is None


def test_directions_are_fixed_unit_vectors_in_checkpoints() -> None:
    case, other = built("logits"), built("logits")
    directions = case.task.direction_KD
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(12))
    assert not directions.requires_grad
    other.task.direction_KD.zero_()
    other.task.load_state_dict(case.task.state_dict())
    assert torch.equal(other.task.direction_KD, directions)


@each_term
def test_teacher_and_student_see_the_same_pixels(variant: str) -> None:
    views = built(variant).views
    assert views["teacher"].input_key == views["student"].input_key
    assert views["teacher"].teacher == "teacher"
    assert views["student"].encoder is Role.STUDENT
