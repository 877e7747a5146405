"""What an index asks of one file, in a worker process; and for many, through the pool."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evossl.data.workers.pool import Job, Outcome, WorkerPool
from evossl.errors import RunError
from evossl.io.remote import FetchError, fetch, lives_in_this_process

PROBE = "evossl.data.workers.jobs:probe_file"


def probe_file(path: str) -> dict[str, Any]:
    """Return the fields of `evossl.data.decode.decoder.Probe`. Runs in a worker.

    Raises:
        DecodeError: no frame of it can be read; the message is the reason.
    """
    from evossl.data.decode.decoder import probe

    return asdict(probe(path))


def run_jobs(pool: WorkerPool, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Yield the outcome of every job; what only this process can see is copied out for the workers.

    Raises:
        RunError: a temporary copy cannot be written; or as `WorkerPool.run`.
    """
    with tempfile.TemporaryDirectory(prefix="evossl-") as folder:
        copies = {
            job.number: Path(folder) / f"{job.number}{Path(job.source).suffix}"
            for job in jobs
            if lives_in_this_process(job.source)
        }
        for outcome in pool.run(_copied_out(job, copies.get(job.number)) for job in jobs):
            if outcome.number in copies:
                copies[outcome.number].unlink(missing_ok=True)
            yield outcome


def _copied_out(job: Job, copy: Path | None) -> Job:
    if copy is None:
        return job
    try:
        fetch(job.source, copy)
    except FetchError:
        return job  # the worker meets the same error and reports it as this file's
    except OSError as error:
        raise RunError(f"{copy}: cannot be written: {error.strerror or error}") from error
    return Job(job.number, str(copy), job.arguments)
