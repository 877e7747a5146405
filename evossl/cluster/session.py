"""A Ray to work on: one that evossl starts and ends, or a cluster that is there already.

Ray's dashboard is bound to 127.0.0.1. GCS, raylet and workers listen on all interfaces, whatever
one sets: see docs/cluster.md.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from evossl.config import Resources
from evossl.errors import RunError, UserError

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: it raises here and the session ends
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own state is scratch: the journal is ours
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # else workers start one after the other, seconds each
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # what still trains when a run is stopped is cut off
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a space mean the same as for the driver
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "5",  # under Ray's own 15 any other program starves a trial of threads
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


FAULTS = (ConnectionError, RuntimeError, ValueError, TimeoutError)
"""What `ray.init` raises when it fails; a node that is slow to start is a bare `Exception`."""

TOKEN = "; if the cluster asks for a token, set RAY_AUTH_MODE=token (docs/cluster.md)"


@dataclass(frozen=True)
class Session:
    """A connected Ray: the dashboard's address (None if it has not started), local or a cluster."""

    dashboard: str | None
    is_local: bool

    def check(self, resources: Resources) -> None:
        """Refuse a share of this machine that it does not have: Ray would wait for it for ever.

        A cluster may grow: there, a trial waits for a node that has room for it.

        Raises:
            UserError: more CPUs or GPUs for one trial than a local Ray has.
        """
        if not self.is_local:
            return
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        for key, kind, wanted in (("cpus", "CPU", resources.cpus), ("gpus", "GPU", resources.gpus)):
            if wanted > there.get(kind, 0):
                raise UserError(
                    f"resources.{key}: {wanted:g} for a trial, this machine has "
                    f"{there.get(kind, 0):g}; lower it, or give --address of a cluster"
                )

    def slots(self, resources: Resources) -> int:
        """How many trials fit at this moment, at least one; read anew, for clusters grow."""
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        fits = int(there.get("CPU", 0) / resources.cpus)
        if resources.gpus:
            fits = min(fits, int(there.get("GPU", 0) / resources.gpus))
        if resources.max_concurrent:
            fits = min(fits, resources.max_concurrent)
        return max(1, fits)

    def shares(self, resources: Resources, trainings: int) -> Resources:
        """Return the resources of each of some trainings that have a local Ray to themselves.

        All its CPUs are dealt out. A cluster is not ours alone: there a training has its own.
        """
        if not self.is_local:
            return resources
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        dealt = there.get("CPU", 0) // min(trainings, self.slots(resources))
        return resources.model_copy(update={"cpus": max(resources.cpus, dealt)})


@contextmanager
def ray_session(address: str | None, dashboard: bool = True) -> Iterator[Session]:
    """Connect to the cluster at `address`, or start a local Ray; leave or end it afterwards.

    Args:
        address: "auto", "host:port", "ray://host:port"; None starts one here.
        dashboard: start the local Ray's dashboard, on 127.0.0.1; one that does not start is done
            without.

    Raises:
        RunError: nothing answers at `address`; the machine is too busy for a Ray to start in time.
    """
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Of its start Ray says nothing itself: what fails is raised, or is the dashboard alone.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address is None:
            wanted = None if dashboard else False  # True: without a dashboard there is no Ray
            context = ray.init(include_dashboard=wanted, dashboard_host="127.0.0.1", **options)
        else:
            context = ray.init(address=address, **options)
    except Exception as error:
        if not isinstance(error, FAULTS) and type(error) is not Exception:
            raise
        raise RunError(_why_no_ray(address, error)) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end the process on the spot
    url = getattr(context, "dashboard_url", None)
    try:
        yield Session(f"http://{url}" if url else None, is_local=address is None)
    finally:
        ray.shutdown()


def _why_no_ray(address: str | None, error: Exception) -> str:
    """What the user can do about it, first."""
    if address is None:
        return (
            "a local Ray could not be started, for which it takes at most 30 s: is this machine "
            f"very busy, or out of memory? Try again when it is not ({error})"
        )
    token = "" if "RAY_AUTH_MODE" in os.environ else TOKEN
    return f"--address {address}: cannot be reached{token} ({error})"
