"""Run a single job on a worker, and hear from it as it goes on."""

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
from evossl.training.memory_use import OUT_OF_MEMORY

T = TypeVar("T")
Advance = Callable[[int, int], None]


def run_on_worker(job: Callable[..., T], resources: Resources, *args: Any, progress: Advance) -> T:
    """Run `job(*args, progress)` in a worker with a trial's share of the machine.

    Args:
        job: given `progress` as its last argument; returns what is returned here.
        resources: of one trial.
        args: plain data.
        progress: called here with what the job calls its own with: (done, total).

    Raises:
        UserError, RunError: as the job raised them; RunError also for whatever else it raised, with
            its place, and for a worker that died.
    """
    share = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=1)
    remote: Any = share(_streamed)
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


def take_threads(cpus: float) -> None:
    """Compute with as many threads as CPUs were given, whatever this process did before.

    How many there are moves sums in their last bits: a control would depend on the worker's past.
    """
    torch.set_num_threads(max(1, int(cpus)))


def _streamed(
    job: Callable[..., T], args: Sequence[Any], cpus: float
) -> Iterator[tuple[tuple[int, int] | None, T | None]]:
    """A job's progress as it comes, then its value: Ray hands over each as it is yielded."""
    said: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
    with ThreadPoolExecutor(1, initializer=take_threads, initargs=(cpus,)) as pool:
        future = pool.submit(job, *args, lambda *done: said.put(done))
        future.add_done_callback(lambda _: said.put(None))
        while done := said.get():
            yield done, None
    try:
        value = future.result()
    except (UserError, RunError):
        raise
    except Exception as error:  # the outermost frame of a job: a task's bug, a library's
        raise RunError(in_words(error)) from error
    yield None, value


def in_words(error: Exception) -> str:
    """What was raised and where, in one line; our own messages say enough by themselves.

    The place is the last one outside installed packages: in a user's own task, not in torch.
    """
    if isinstance(error, UserError | RunError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    *_, last = ours or frames
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
