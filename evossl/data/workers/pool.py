"""A pool of worker processes that read files; one that exceeds its deadline is killed and replaced.

Each worker has one file at a time, so that the file which hangs or crashes it is known.

This pool is our own because pebble's ProcessPool starts workers through multiprocessing (spawn
imports the caller's main module, and torch with it; fork is unsafe beside threads) and has one
timeout per task, where fetching and decoding a file need one each.

A pool with as many workers as CPUs keeps each worker on a CPU of its own. decord passes every frame
from one thread to another; if the kernel wakes the second thread on another CPU, caches are cold
and CPUs leave sleep in between. That takes a sixth of the time of a first pass
(docs/performance.md).
"""

import os
import selectors
import sys
import tempfile
import time
import weakref
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from evossl.data.workers.job import FileJob, JobResult
from evossl.data.workers.process import WorkerProcess
from evossl.errors import RunError, UserError
from evossl.io.remote import FetchError, fetch, is_process_local


class WorkerPool:
    """Runs an importable function on files, in worker processes.

    Args:
        function: "module:name"; called as f(local_file, **arguments), returns plain data. A
            `DecodeError` (or any other exception) fails this file only, with its message;
            `RunError` and `UserError` end the whole run.
        workers: maximum number of processes.
        deadline: seconds that one file may take. Fetching a remote file has a time limit of its
            own, `FETCH_SECONDS`.
    """

    def __init__(self, function: str, *, workers: int, deadline: float) -> None:
        if workers < 1 or deadline <= 0:
            raise UserError(f"workers ({workers}) and deadline ({deadline} s) must be positive")
        self._function = function
        self._limit = workers
        self._deadline = deadline
        self._workers: list[WorkerProcess] = []
        weakref.finalize(self, _kill_all, self._workers)

    def run(self, jobs: Iterable[FileJob]) -> Iterator[JobResult]:
        """Yield the result of each job as it ends; jobs are taken only as workers become free.

        A file that only this process can read is copied to a temporary file for the worker.

        Raises:
            RunError: a worker cannot start, a temporary copy cannot be written, or a worker
                reported a fault that affects every file (a full disk).
            UserError: a worker reported wrong settings.
        """
        copies: dict[int, Path] = {}
        with tempfile.TemporaryDirectory(prefix="evossl-") as folder:
            readable = (_make_readable(job, Path(folder), copies) for job in jobs)
            with closing(self._run(readable)) as results:
                for result in results:
                    if result.number in copies:
                        copies.pop(result.number).unlink(missing_ok=True)
                    yield result

    def close(self) -> None:
        """End the workers; a later `run` starts new ones."""
        _kill_all(self._workers)

    def processes(self) -> list[int]:
        """Return the process ids of the running workers."""
        return [worker.process_id for worker in self._workers]

    def _run(self, jobs: Iterator[FileJob]) -> Generator[JobResult, None, None]:
        try:
            while self._hand_out(jobs):
                for worker in self._wait():
                    result = worker.collect()
                    if worker.dead:
                        self._workers.remove(worker)
                    if result is not None:
                        yield result
        finally:
            for worker in [worker for worker in self._workers if worker.job is not None]:
                worker.kill()
                self._workers.remove(worker)

    def _hand_out(self, jobs: Iterator[FileJob]) -> bool:
        """Give every idle worker a job; return whether any job is in flight."""
        idle = [worker for worker in self._workers if worker.job is None]
        while idle or len(self._workers) < self._limit:
            job = next(jobs, None)
            if job is None:
                break
            if not idle:
                idle = [WorkerProcess(self._function, self._deadline, self._free_cpu())]
                self._workers += idle
            idle.pop().start(job)
        return any(worker.job is not None for worker in self._workers)

    def _free_cpu(self) -> int | None:
        """Return a CPU that no worker has, or None unless there are as many CPUs as workers."""
        if sys.platform != "linux":
            return None
        cpus = os.sched_getaffinity(0)
        if len(cpus) != self._limit:
            return None
        return min(cpus - {worker.cpu for worker in self._workers})

    def _wait(self) -> list[WorkerProcess]:
        """Wait for, then return, the workers that have answered, died or passed their deadline."""
        busy = [worker for worker in self._workers if worker.job is not None]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            seconds = min(worker.due for worker in busy) - time.monotonic()
            ready = {key.data for key, _ in selector.select(max(seconds, 0.0))}
        now = time.monotonic()
        return [worker for worker in busy if worker in ready or worker.due <= now]


def _make_readable(job: FileJob, folder: Path, copies: dict[int, Path]) -> FileJob:
    """Return a job whose source a worker can read; a copy in `folder` is noted in `copies`."""
    if not is_process_local(job.source):
        return job
    copy = copies[job.number] = folder / f"{job.number}{Path(job.source).suffix}"
    try:
        fetch(job.source, copy)
    except FetchError:
        return job  # the worker will meet the same error and report it for this file
    except OSError as error:
        raise RunError(f"{copy}: cannot be written: {error.strerror or error}") from error
    return replace(job, source=str(copy))


def _kill_all(workers: list[WorkerProcess]) -> None:
    while workers:
        workers.pop().kill()
