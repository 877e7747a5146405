import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real

STAGES = ["stage1", "stage2", "stage3", "stage4"]
TEACHERS = [Stream.GRAY, Stream.FLOW, Stream.AUDIO]
stages = pytest.mark.parametrize("stage", STAGES)
teachers = pytest.mark.parametrize("teacher", TEACHERS)


def term(teacher: Stream, stage: str) -> Term:
    return Term("distill", Place((teacher, Stream.RGB), directed=True, variant=stage))


def array(x: Tensor) -> NDArray[np.float64]:
    return x.detach().double().numpy()


def expected_loss(case: hand.Case, batch: TaskBatch, stage: str) -> float:
    """Return the mean squared difference, with the pooling of audio written as loops."""
    student, teacher = (array(batch[name].maps[stage]) for name in ("student", "teacher"))
    if isinstance(case.task.projector, nn.Conv3d):
        weight, bias = array(case.task.projector.weight)[:, :, 0, 0, 0], case.task.projector.bias
        student = np.einsum("oc,bcthw->bothw", weight, student)
        student += array(bias)[None, :, None, None, None]
    if case.term.streams[0] is not Stream.AUDIO:
        return float(np.mean((student - teacher) ** 2))
    student, teacher = student.mean(axis=(3, 4)), teacher.mean(axis=(2, 3))
    num_steps, num_columns, squares = student.shape[2], teacher.shape[2], []
    for step in range(num_steps):
        first = math.floor(step * num_columns / num_steps)
        last = math.ceil((step + 1) * num_columns / num_steps)
        squares.append((student[:, :, step] - teacher[:, :, first:last].mean(axis=2)) ** 2)
    return float(np.mean(squares))


@teachers
@stages
def test_loss_is_the_mean_squared_difference_of_maps(teacher: Stream, stage: str) -> None:
    case = hand.build(term(teacher, stage))
    batch = hand.make_batch(case.views)
    assert math.isclose(
        case.task.loss(batch).item(), expected_loss(case, batch, stage), rel_tol=1e-5
    )


@stages
def test_only_different_widths_are_projected(stage: str) -> None:
    project = hand.build(term(Stream.FLOW, stage)).task.projector
    assert not list(project.parameters())
    is_equal = hand.SHAPES[Stream.AUDIO].maps[stage][0] == hand.SHAPES[Stream.RGB].maps[stage][0]
    assert isinstance(hand.build(term(Stream.AUDIO, stage)).task.projector, nn.Conv3d) != is_equal


@teachers
@pytest.mark.parametrize("joint", [False, True])
def test_gradient_reaches_the_teacher_only_if_joint(teacher: Stream, joint: bool) -> None:
    case = hand.build(term(teacher, "stage3"), joint=joint)
    batch = hand.make_batch(case.views)
    case.task.loss(batch).backward()
    reaches = {name: batch[name].maps["stage3"].grad is not None for name in batch.views}
    assert reaches == {"student": True, "teacher": joint}


@stages
def test_gradient_reaches_only_the_terms_stage(stage: str) -> None:
    case = hand.build(term(Stream.FLOW, stage))
    batch = hand.make_batch(case.views)
    case.task.loss(batch).backward()
    touched = [name for name, map_ in batch["student"].maps.items() if map_.grad is not None]
    assert touched == [stage]
    assert batch["student"].embedding_BD.grad is None


@teachers
def test_teacher_and_student_share_time_and_crop(teacher: Stream) -> None:
    case = hand.build(term(teacher, "stage1"))
    batch = real.build_batch(case.views, real.moving_bar(num=4))
    first, second = batch["teacher"].applied, batch["student"].applied
    assert torch.equal(first.start_B, second.start_B)
    assert torch.equal(first.crop_B4, second.crop_B4)


def test_teacher_needs_another_active_task() -> None:
    case = hand.build(term(Stream.FLOW, "stage1"))
    assert case.task.teacher_stream_index == 0
    assert case.views["teacher"].stream is case.term.streams[0]
    assert case.views["student"].stream is Stream.RGB
