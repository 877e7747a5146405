"""A Ray session: how many trials fit, how CPUs are divided, and what happens if Ray fails."""

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from evossl.cluster.job import run_on_worker
from evossl.cluster.session import NICENESS, Session, ray_session
from evossl.config import Resources
from evossl.errors import RunError, UserError
from evossl.types import Progress


@pytest.fixture
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 2.0})


@pytest.mark.usefixtures("sixteen_cpus")
@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(cpus=2), 8),
        (Resources(cpus=3), 5),
        (Resources(cpus=1, gpus=0.25), 8),
        (Resources(cpus=1, gpus=1), 2),
        (Resources(cpus=1, max_concurrent=3), 3),
        (Resources(cpus=64), 1),
    ],
)
def test_slots_follow_cpus_gpus_and_max_concurrent(resources: Resources, slots: int) -> None:
    assert Session(None, is_local=True).num_slots(resources) == slots


@pytest.mark.usefixtures("sixteen_cpus")
@pytest.mark.parametrize(
    ("resources", "num_jobs", "cpus"),
    [
        (Resources(cpus=1), 1, 16),
        (Resources(cpus=1), 3, 5),
        (Resources(cpus=0.5), 100, 0.5),
        (Resources(cpus=1, gpus=1), 3, 8),  # two at a time
        (Resources(cpus=1, max_concurrent=1), 3, 16),
        (Resources(cpus=12), 2, 16),
    ],
)
def test_jobs_divide_the_cpus_of_a_local_ray(
    resources: Resources, num_jobs: int, cpus: float
) -> None:
    local = Session(None, is_local=True).divide_cpus(resources, num_jobs)
    assert local == resources.model_copy(update={"cpus": cpus})
    assert Session(None, is_local=False).divide_cpus(resources, num_jobs) == resources


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(cpus=3), "resources.cpus: a trial needs 3, this machine has 2"),
        (Resources(gpus=0.5), "resources.gpus: a trial needs 0.5, this machine has 0"),
    ],
)
def test_a_trial_that_can_never_run_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, message: str
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(UserError, match=message):
        Session(None, is_local=True).check_fits(resources)
    Session(None, is_local=True).check_fits(Resources(cpus=2))
    Session(None, is_local=False).check_fits(resources)  # a cluster may grow


@pytest.mark.parametrize("error", [ConnectionError("no"), Exception("timed out during startup")])
@pytest.mark.parametrize(
    ("address", "message"),
    [("there", "--address there: cannot be reached.*RAY_AUTH_MODE=token"), (None, "very busy")],
)
def test_a_ray_that_does_not_start_is_a_run_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None, message: str
) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(RunError, match=f"{message}.*{error}"), ray_session(address):
        pass


def test_a_session_starts_silently_without_its_dashboard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The fake `init` behaves like Ray's: it raises only with `include_dashboard=True`."""

    def init(include_dashboard: bool | None, logging_level: int, **_: Any) -> SimpleNamespace:
        logging.getLogger("ray").setLevel(logging_level)
        logging.getLogger("ray._private.services").error("Failed to start the dashboard")
        if include_dashboard:
            raise Exception("the last 20 lines of dashboard.log")
        return SimpleNamespace(dashboard_url=None)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with ray_session(None) as session:
        assert session == Session(None, is_local=True)
        assert logging.getLogger("ray").level == logging.ERROR, "later errors are logged"
    assert not caplog.records


def _nice_level(progress: Progress) -> int:
    return os.nice(0)


@pytest.mark.usefixtures("session")
def test_a_worker_is_as_nice_as_its_search() -> None:
    """A search started with `nice -n 10` has workers of nice level 10, any other one of 0."""
    level = run_on_worker(_nice_level, Resources(), progress=lambda *_: None)
    assert level == os.nice(0)


@pytest.mark.parametrize("value", ["", "much", "1.5", "20", "-21", " 5"])
def test_a_nice_level_that_crashes_ray_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(NICENESS, value)
    message = f"{NICENESS}={value} in the environment: is not a whole number from -20 to 19"
    with pytest.raises(UserError, match=message), ray_session(None):
        pass


def test_the_users_own_nice_level_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake `init` finds the level in the environment, as Ray's own processes do."""
    found: list[str] = []

    def init(**_: Any) -> SimpleNamespace:
        found.append(os.environ[NICENESS])
        return SimpleNamespace(dashboard_url=None)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for value in ("-20", "19"):
        monkeypatch.setenv(NICENESS, value)
        with ray_session(None):
            pass
    assert found == ["-20", "19"]
