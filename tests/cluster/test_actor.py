"""The trial actor: a trial's own failure is a result, a fault of the machine is not."""

import errno
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evossl.cluster.actor import TrialActor
from evossl.errors import RunError, UserError
from evossl.experiment.trial_spec import TrialResult
from evossl.training.history import StepReport


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


@pytest.mark.parametrize(
    ("cpu_share", "cpus", "words"),
    [
        (0.12, 1.0, "trial 3 gets 12 % of the CPU time"),
        (0.4, 0.5, "None"),  # no less than its half of a CPU
        (None, 1.0, "None"),
    ],
)
def test_a_starved_trial_says_so_in_its_report(
    cpu_share: float | None, cpus: float, words: str
) -> None:
    report = StepReport(7, 1.0, 0.1, 1.0, 1.0, 1.0, 0.0, {}, {}, {}, cpu_share=cpu_share)
    actor = TrialActor.__new__(TrialActor)
    actor._steps, actor._number, actor._cpus = iter([report]), 3, cpus  # type: ignore[assignment]
    actor._num_steps = 28
    actor._rate = actor._wait = SimpleNamespace(set=lambda _: None)  # type: ignore[assignment]
    sent = actor.step()
    assert (sent["done"], sent["share"]) == (False, 0.25)
    assert str(sent["starved"]).startswith(words)
