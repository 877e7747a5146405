"""Run one job in a worker process, and follow its progress."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import ray
import torch

from evossl.config import Resources
from evossl.errors import RunError, UserError
from evossl.experiment.context import RunContext, RunSpec
from evossl.training.memory_use import OUT_OF_MEMORY
from evossl.types import Progress

T = TypeVar("T")


def run_on_worker(job: Callable[..., T], resources: Resources, *args: Any, progress: Progress) -> T:
    """Return `job(*args, progress)`, run in a worker process.

    A job whose worker dies is retried once.

    Args:
        job: called with a progress callback as its last argument.
        resources: CPUs and GPUs of the worker.
        args: plain data.
        progress: called in this process whenever the job calls its own.

    Raises:
        UserError, RunError: what the job raised. Any other exception of the job, and the death of
            its worker, becomes a `RunError`.
    """
    remote: Any = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=1)(
        _stream_job
    )
    try:
        for reference in remote.remote(job, args, resources.cpus):
            done, value = ray.get(reference)
            if done:
                progress(*done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError | RunError):
            raise cause from None
        raise
    except ray.exceptions.OutOfMemoryError as error:
        raise RunError(f"a worker ran {OUT_OF_MEMORY}") from error
    except ray.exceptions.RayError as error:
        raise RunError(f"a worker died: {error}") from error
    result: T = value
    return result


def run_in_context(
    job: Callable[[RunContext, Progress], T],
    resources: Resources,
    run: RunSpec,
    *,
    progress: Progress,
) -> T:
    """Return `job(context, progress)`, run in a worker that opens the run's context.

    Raises:
        UserError, RunError: see `run_on_worker`.
    """
    result: T = run_on_worker(_in_context, resources, job, run, progress=progress)
    return result


def _in_context(job: Callable[[RunContext, Progress], T], run: RunSpec, progress: Progress) -> T:
    return job(RunContext.open(run), progress)


def set_num_threads(cpus: float) -> None:
    """Make torch compute with as many threads as CPUs were assigned, whatever ran here before.

    The number of threads changes sums in their last bits: without this, the score of a control
    would depend on what its worker did before.
    """
    torch.set_num_threads(max(1, int(cpus)))


def _stream_job(
    job: Callable[..., T], args: Sequence[Any], cpus: float
) -> Iterator[tuple[tuple[int, int] | None, T | None]]:
    """Yield (progress, None) while the job runs, then (None, value); Ray streams both."""
    queue: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
    with ThreadPoolExecutor(1, initializer=set_num_threads, initargs=(cpus,)) as pool:
        future = pool.submit(job, *args, lambda *done: queue.put(done))
        future.add_done_callback(lambda _: queue.put(None))
        while done := queue.get():
            yield done, None
    try:
        value = future.result()
    except (UserError, RunError):
        raise
    except Exception as error:  # the outermost frame of a job
        raise RunError(describe_exception(error)) from error
    yield None, value


def describe_exception(error: Exception) -> str:
    """Return one line: the message of our own errors; of others also the type and the place.

    The place is the innermost frame outside installed packages: a user's own file, not torch.
    """
    if isinstance(error, UserError | RunError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    *_, last = own or frames
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
