"""A pool of worker processes with a deadline for each file: killed and replaced, never waited for.

One file is in flight in a worker, so that the one which hangs or kills it is known.

A pool with a worker for each CPU keeps each on its own. decord hands every frame from one thread to
another; where the kernel wakes the second on another CPU, caches are cold and CPUs doze in between:
a sixth of the time of a first pass (docs/performance.md).
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from evossl.errors import RunError, UserError
from evossl.io.remote import FETCH_SECONDS

START_SECONDS = 120.0  # for a worker's interpreter to come up on a crowded machine


@dataclass(frozen=True)
class Job:
    """One file for one worker.

    Attributes:
        number: the caller's, to find the answer by.
        source: path or URL; the worker's function is given a local file.
        arguments: further ones, plain data.
    """

    number: int
    source: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        number: the job's.
        value: what the function returned, or None.
        reason: why there is no value.
        retryable: another attempt may do better (deadline, dead process, network).
    """

    number: int
    value: dict[str, Any] | None = None
    reason: str | None = None
    retryable: bool = False


class WorkerPool:
    """Runs an importable function on files in worker processes.

    Args:
        function: "module:name"; called as f(local_file, **arguments), returns plain data. A
            `DecodeError` (or any other exception) sets the file aside with its message;
            `RunError` and `UserError` end the whole run.
        workers: processes at most.
        deadline: seconds a file may take; fetching a remote file has its own clock.
    """

    def __init__(self, function: str, *, workers: int, deadline: float) -> None:
        if workers < 1 or deadline <= 0:
            raise UserError(f"workers ({workers}) and deadline ({deadline} s) must be positive")
        self._function = function
        self._limit = workers
        self._deadline = deadline
        self._workers: list[_Worker] = []
        weakref.finalize(self, _kill_all, self._workers)

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Yield one outcome a job, in the order in which they end. `jobs` is taken lazily.

        Raises:
            RunError: workers cannot start, or a worker met what no other file will escape (a full
                disk).
            UserError: a worker met wrong settings.
        """
        queue = iter(jobs)
        try:
            while self._hand_out(queue):
                for worker in self._wait():
                    outcome = worker.collect()
                    if worker.dead:
                        self._workers.remove(worker)
                    if outcome is not None:
                        yield outcome
        finally:
            for worker in [worker for worker in self._workers if worker.job is not None]:
                worker.kill()
                self._workers.remove(worker)

    def close(self) -> None:
        """End the workers; a later `run` starts new ones."""
        _kill_all(self._workers)

    def processes(self) -> list[int]:
        """Return the process ids of the living workers."""
        return [worker.process_id for worker in self._workers]

    def _hand_out(self, queue: Iterator[Job]) -> bool:
        """Give every idle worker a job; return whether any is in flight."""
        idle = [worker for worker in self._workers if worker.job is None]
        while idle or len(self._workers) < self._limit:
            job = next(queue, None)
            if job is None:
                break
            if not idle:
                idle = [_Worker(self._function, self._deadline, self._free_cpu())]
                self._workers += idle
            idle.pop().start(job)
        return any(worker.job is not None for worker in self._workers)

    def _free_cpu(self) -> int | None:
        """A CPU for the next worker alone, if there is one for each."""
        if sys.platform != "linux":
            return None
        cpus = os.sched_getaffinity(0)
        if len(cpus) != self._limit:
            return None
        return min(cpus - {worker.cpu for worker in self._workers})

    def _wait(self) -> list["_Worker"]:
        """Return the workers that have answered, died or passed their deadline."""
        busy = [worker for worker in self._workers if worker.job is not None]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            patience = min(worker.due for worker in busy) - time.monotonic()
            ready = {key.data for key, _ in selector.select(max(patience, 0.0))}
        now = time.monotonic()
        return [worker for worker in busy if worker in ready or worker.due <= now]


class _Worker:
    """One process, the CPU that it stays on (None: any), and the job in flight in it."""

    def __init__(self, function: str, deadline: float, cpu: int | None) -> None:
        self.cpu = cpu
        self.job: Job | None = None
        self.dead = False
        self._deadline = deadline
        self._ready = False
        self._complaint = ""
        self._errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "evossl.data.workers.worker", function, str(deadline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": path},
        )
        if sys.platform == "linux" and cpu is not None:
            with suppress(OSError):  # forbidden here, or the process is gone: `collect` will see
                os.sched_setaffinity(self._process.pid, {cpu})
        assert self._process.stdout is not None
        self.answers = self._process.stdout
        self.process_id = self._process.pid
        self._buffer = b""
        self.due = time.monotonic() + START_SECONDS

    def start(self, job: Job) -> None:
        self.job = job
        line = json.dumps({"source": job.source, "arguments": job.arguments}) + "\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died while idle: `collect` sees the end of its answers
            self._process.stdin.write(line.encode("ascii"))
            self._process.stdin.flush()
        if self._ready:
            self.due = time.monotonic() + FETCH_SECONDS

    def collect(self) -> Outcome | None:
        """Return the outcome of the job in flight, or None if it is still under way."""
        assert self.job is not None
        if time.monotonic() >= self.due and not self._can_read():
            self.kill()
            return self._lost(f"no answer within {self._deadline:g} s")
        data = os.read(self.answers.fileno(), 1 << 16)
        if not data:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self.kill()
            return self._lost(_cause_of_death(self._process.returncode, self._deadline))
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        outcome = None
        for line in lines:
            outcome = self._hear(json.loads(line))
        if outcome is not None:
            self.job = None
        return outcome

    def kill(self) -> None:
        """End the process and free what it holds."""
        self.dead = True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: it goes when it can
            self._process.wait(timeout=5)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self.answers.close()
        if not self._errors.closed:
            self._errors.seek(0)
            self._complaint = self._errors.read()[-2000:].decode("utf-8", "replace").strip()
            self._errors.close()

    def _can_read(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _hear(self, answer: dict[str, Any]) -> Outcome | None:
        assert self.job is not None
        now = time.monotonic()
        match answer["event"]:
            case "ready":
                self._ready, self.due = True, now + FETCH_SECONDS
                self._errors.close()
            case "fetched":
                self.due = now + self._deadline
            case "done":
                return Outcome(self.job.number, value=answer["value"])
            case "failed":
                number, retryable = self.job.number, answer["retryable"]
                return Outcome(number, reason=answer["reason"], retryable=retryable)
            case "fatal":
                kind = UserError if answer["kind"] == "user" else RunError
                raise kind(answer["message"])
        return None

    def _lost(self, reason: str) -> Outcome:
        assert self.job is not None
        if not self._ready:
            raise RunError(f"a worker process cannot start: {reason}\n{self._complaint}")
        return Outcome(self.job.number, reason=reason, retryable=True)


def _cause_of_death(code: int | None, deadline: float) -> str:
    if code == -signal.SIGALRM:
        return f"no answer within {deadline:g} s"
    if code is not None and code < 0:
        return f"killed the decoder: {signal.Signals(-code).name}"
    return f"killed the decoder: exit code {code}"


def _kill_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()
