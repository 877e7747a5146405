"""A Ray session: a Ray that evossl starts and stops on this machine, or an existing cluster.

Ray's dashboard is bound to 127.0.0.1. Its other processes (GCS, raylet, workers) listen on all
interfaces, which no setting changes: see docs/cluster.md.
"""

import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from evossl.config import Resources
from evossl.errors import RunError, UserError

NICENESS = "RAY_worker_niceness"
"""How much nicer than this process the workers of a local Ray are; the user may set it."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C raises KeyboardInterrupt, which ends the session
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own state is not needed: the journal is ours
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # otherwise workers start one by one, seconds each
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # trials still running when a run stops are killed
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a space mean the same in a worker
    "RAY_AIR_NEW_OUTPUT": "0",
    NICENESS: "0",  # with Ray's default 15, any other program starves a trial
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment variables of Ray and Tune, set unless the user has set them."""

INIT_ERRORS = (ConnectionError, RuntimeError, ValueError, TimeoutError)
"""What `ray.init` raises when it fails; for a node that starts too slowly, a bare `Exception`."""

TOKEN_HINT = "; if the cluster needs a token, set RAY_AUTH_MODE=token (docs/cluster.md)"


@dataclass(frozen=True)
class Session:
    """A connected Ray.

    Attributes:
        dashboard: address of the dashboard, or None if it did not start.
        is_local: evossl started this Ray on this machine, for itself alone.
    """

    dashboard: str | None
    is_local: bool

    def check_fits(self, resources: Resources) -> None:
        """Refuse a trial that a local Ray can never run: Ray would wait for ever.

        A cluster may grow; there, the trial waits for a node that has room.

        Raises:
            UserError: a trial needs more CPUs or GPUs than this machine has.
        """
        if not self.is_local:
            return
        total = _cluster_resources()
        for key, kind, needed in (("cpus", "CPU", resources.cpus), ("gpus", "GPU", resources.gpus)):
            if needed > total.get(kind, 0):
                raise UserError(
                    f"resources.{key}: a trial needs {needed:g}, this machine has "
                    f"{total.get(kind, 0):g}; lower it, or give --address of a Ray cluster"
                )

    def num_slots(self, resources: Resources) -> int:
        """Return how many trials fit at this moment, at least 1; a cluster can grow and shrink."""
        total = _cluster_resources()
        fits = int(total.get("CPU", 0) / resources.cpus)
        if resources.gpus:
            fits = min(fits, int(total.get("GPU", 0) / resources.gpus))
        if resources.max_concurrent:
            fits = min(fits, resources.max_concurrent)
        return max(1, fits)

    def divide_cpus(self, resources: Resources, num_jobs: int) -> Resources:
        """Return the resources of each of `num_jobs` jobs that have a local Ray to themselves.

        All CPUs of the machine are divided among those that fit at the same time. A cluster may
        have other users; there, a job has the resources of a trial.
        """
        if not self.is_local:
            return resources
        cpus = _cluster_resources().get("CPU", 0) // min(num_jobs, self.num_slots(resources))
        return resources.model_copy(update={"cpus": max(resources.cpus, cpus)})


def _cluster_resources() -> dict[str, float]:
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return total


@contextmanager
def ray_session(address: str | None, dashboard: bool = True) -> Iterator[Session]:
    """Connect to a Ray cluster or start Ray here; disconnect or stop it at the end.

    Args:
        address: "auto", "host:port" or "ray://host:port"; None starts Ray on this machine.
        dashboard: start the local Ray's dashboard; the session continues if it does not start.

    Raises:
        UserError: the environment variable `RAY_worker_niceness` is not a whole number from -20
            to 19.
        RunError: nothing answers at `address`, or Ray did not start in time on this machine.
    """
    _check_niceness(os.environ)
    os.environ.update({key: v for key, v in ENVIRONMENT.items() if key not in os.environ})
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Ray's own messages during start-up are silenced: what fails is raised, except the dashboard.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address is None:
            # None: Ray starts without a dashboard that fails. With True, it would not start.
            include = None if dashboard else False
            context = ray.init(include_dashboard=include, dashboard_host="127.0.0.1", **options)
        else:
            context = ray.init(address=address, **options)
    except Exception as error:
        if not isinstance(error, INIT_ERRORS) and type(error) is not Exception:
            raise
        raise RunError(_start_failure(address, error)) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's handler would exit without cleaning up
    url = getattr(context, "dashboard_url", None)
    try:
        yield Session(f"http://{url}" if url else None, is_local=address is None)
    finally:
        ray.shutdown()


def _check_niceness(environment: Mapping[str, str]) -> None:
    """Refuse a value with which Ray would crash instead of raising.

    Raises:
        UserError: it is not a whole number from -20 to 19.
    """
    value = environment.get(NICENESS, "0")
    if not re.fullmatch(r"-?\d{1,2}", value) or not -20 <= int(value) <= 19:
        raise UserError(
            f"{NICENESS}={value} in the environment: is not a whole number from -20 to 19; unset "
            f"it, or give for example {NICENESS}=10"
        )


def _start_failure(address: str | None, error: Exception) -> str:
    if address is None:
        return (
            "Ray did not start on this machine within 30 s; is the machine very busy, or out of "
            f"memory? Try again when it is not ({error})"
        )
    hint = "" if "RAY_AUTH_MODE" in os.environ else TOKEN_HINT
    return f"--address {address}: cannot be reached{hint} ({error})"
