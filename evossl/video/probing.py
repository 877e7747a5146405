"""What an index asks of one file, in a worker process; and for many, through the pool."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evossl.errors import RunError
from evossl.video.pool import Job, Outcome, WorkerPool
from evossl.video.remote import FetchError, lives_in_this_process, local_copy

PROBE = "evossl.video.probing:probe_file"


def probe_file(path: str) -> dict[str, Any]:
    """Return the fields of `evossl.video.decode.Probe`. Runs in a worker.

    Raises:
        DecodeError: no frame of it can be read; the message is the reason.
    """
    from evossl.video.decode import probe

    return asdict(probe(path))


def staged(jobs: Sequence[Job]) -> Iterator[Job]:
    """Yield the jobs; what lives in this process's memory only is copied out for the workers."""
    with tempfile.TemporaryDirectory(prefix="evossl-") as folder:
        for job in jobs:
            yield _copied_out(job, Path(folder)) if lives_in_this_process(job.source) else job


def _copied_out(job: Job, folder: Path) -> Job:
    try:
        with local_copy(job.source) as copy:
            target = folder / f"{job.number}{Path(copy).suffix}"
            Path(copy).replace(target)
    except FetchError:
        return job  # the worker meets the same error and reports it as this file's
    return Job(job.number, str(target), job.arguments)


def run_jobs(pool: WorkerPool, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Yield the outcome of every job.

    Raises:
        RunError: a temporary copy cannot be written.
    """
    try:
        yield from pool.run(staged(jobs))
    except OSError as error:
        raise RunError(f"{tempfile.gettempdir()}: {error.strerror or error}") from error
