"""The trial actor: a trial's own failure is a result, a fault of the machine is not."""

import errno
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from evossl.cluster.actor import TrialActor
from evossl.errors import RunError, UserError
from evossl.experiment.trial_spec import TrialResult


def actor_that_raises(error: BaseException) -> TrialActor:
    """Return an actor in this process whose trial 3 raises."""

    def steps() -> Iterator[Any]:
        raise error
        yield

    actor = TrialActor.__new__(TrialActor)
    actor._steps, actor._number, actor._began = steps(), 3, 0.0  # type: ignore[assignment]
    return actor


def result_of(report: dict[str, Any]) -> TrialResult:
    assert report["done"]
    return TrialResult(**json.loads(report["result"]))


def test_a_bug_in_a_task_is_a_result_with_its_place() -> None:
    result = result_of(actor_that_raises(IndexError("list index out of range")).step())
    assert (result.number, result.fitness) == (3, None)
    assert str(result.reason).startswith("IndexError: list index out of range (test_actor.py:")


@pytest.mark.parametrize(
    "error", [UserError("no weight"), FileNotFoundError(errno.ENOENT, "no weight")]
)
def test_an_error_of_the_users_files_is_a_result(error: Exception) -> None:
    assert "no weight" in str(result_of(actor_that_raises(error).step()).reason)


@pytest.mark.parametrize(
    "error",
    [
        RunError("the cache cannot be written"),
        OSError(errno.ENOSPC, "the cache cannot be written"),  # a full disk, wherever it was met
    ],
)
def test_a_fault_of_the_machine_is_no_result(error: Exception) -> None:
    report = actor_that_raises(error).step()
    assert report.keys() == {"done", "fault"}
    assert "the cache cannot be written" in report["fault"]


def test_a_lost_gpu_ends_the_process() -> None:
    with pytest.raises(torch.AcceleratorError):
        actor_that_raises(torch.AcceleratorError("device-side assert")).step()
