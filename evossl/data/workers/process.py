"""One worker process, seen from the process that started it."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from evossl.data.workers.job import FileJob, JobResult
from evossl.errors import RunError, UserError
from evossl.io.remote import FETCH_SECONDS

START_SECONDS = 120.0  # time limit for a worker's interpreter to start on a busy machine
KILL_SECONDS = 5.0  # time to wait for a killed process; one stuck in the kernel ends later
MAX_STDERR_CHARS = 2000  # of a worker that cannot start, shown in the error


class WorkerProcess:
    """A running worker process and the job in flight in it.

    Args:
        function: "module:name" of the function to call.
        deadline: seconds that one file may take, without fetching it.
        cpu: the CPU that the process stays on, or None for any.

    Attributes:
        cpu: as given.
        job: the job in flight, or None.
        dead: the process has ended or was killed.
        answers: the pipe with the worker's answers.
        process_id: of the process.
        due: time (`time.monotonic`) at which the current phase of the job must be over.
    """

    def __init__(self, function: str, deadline: float, cpu: int | None) -> None:
        self.cpu = cpu
        self.job: FileJob | None = None
        self.dead = False
        self._deadline = deadline
        self._ready = False
        self._startup_errors = ""
        self._stderr: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "evossl.data.workers.worker_main",
                function,
                str(deadline),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"PYTHONPATH": path},
        )
        if sys.platform == "linux" and cpu is not None:
            with suppress(
                OSError
            ):  # not allowed here; or the process is gone: `collect` reports it
                os.sched_setaffinity(self._process.pid, {cpu})
        assert self._process.stdout is not None
        self.answers = self._process.stdout
        self.process_id = self._process.pid
        self._buffer = b""
        self.due = time.monotonic() + START_SECONDS

    def start(self, job: FileJob) -> None:
        """Send a job to the process; its clock begins with fetching the file."""
        self.job = job
        line = json.dumps({"source": job.source, "arguments": job.arguments}) + "\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died while idle: `collect` reads the end of its pipe
            self._process.stdin.write(line.encode("ascii"))
            self._process.stdin.flush()
        if self._ready:
            self.due = time.monotonic() + FETCH_SECONDS

    def collect(self) -> JobResult | None:
        """Return the result of the job in flight, or None while it is still running.

        A process that is past its deadline is killed.

        Raises:
            RunError, UserError: the process could not start, or it reported a fault that affects
                every file.
        """
        assert self.job is not None
        if time.monotonic() >= self.due and not self._has_answer():
            self.kill()
            return self._failure(f"no answer within {self._deadline:g} s")
        data = os.read(self.answers.fileno(), 1 << 16)
        if not data:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=KILL_SECONDS)
            self.kill()
            return self._failure(_cause_of_death(self._process.returncode, self._deadline))
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        result = None
        for line in lines:
            result = self._handle(json.loads(line))
        if result is not None:
            self.job = None
        return result

    def kill(self) -> None:
        """End the process and free its resources."""
        self.dead = True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=KILL_SECONDS)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self.answers.close()
        if not self._stderr.closed:
            self._stderr.seek(0)
            text = self._stderr.read()[-MAX_STDERR_CHARS:]
            self._startup_errors = text.decode("utf-8", "replace").strip()
            self._stderr.close()

    def _has_answer(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _handle(self, answer: dict[str, Any]) -> JobResult | None:
        """Process one answer; return the job's result if this is the last answer to it."""
        assert self.job is not None
        now = time.monotonic()
        match answer["event"]:
            case "ready":
                self._ready, self.due = True, now + FETCH_SECONDS
                self._stderr.close()
            case "fetched":
                self.due = now + self._deadline
            case "done":
                return JobResult(self.job.number, value=answer["value"])
            case "failed":
                number, retryable = self.job.number, answer["retryable"]
                return JobResult(number, reason=answer["reason"], retryable=retryable)
            case "fatal":
                kind = UserError if answer["kind"] == "user" else RunError
                raise kind(answer["message"])
        return None

    def _failure(self, reason: str) -> JobResult:
        """Return the result of a job whose process has ended."""
        assert self.job is not None
        if not self._ready:
            raise RunError(f"a worker process cannot start: {reason}\n{self._startup_errors}")
        return JobResult(self.job.number, reason=reason, retryable=True)


def _cause_of_death(code: int | None, deadline: float) -> str:
    if code == -signal.SIGALRM:
        return f"no answer within {deadline:g} s"
    if code is not None and code < 0:
        return f"killed the decoder: {signal.Signals(-code).name}"
    return f"killed the decoder: exit code {code}"
