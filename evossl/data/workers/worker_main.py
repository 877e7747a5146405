"""The program of a worker process: it reads files one after another; a crash costs one file.

`evossl.data.workers.process` starts it as `python -m evossl.data.workers.worker_main
MODULE:FUNCTION DEADLINE`. Jobs arrive as JSON lines on stdin, answers leave as JSON lines on the
original stdout; what decoders print is discarded. It is a plain subprocess, because the spawn of
`multiprocessing` would import the caller's main module (torch, a notebook, an unguarded script).
It does not import torch, so that it starts fast.
"""

import errno
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from evossl.data.decode.container import DecodeError
from evossl.errors import RunError, UserError
from evossl.io.remote import FETCH_SECONDS, FetchError, local_copy

Function = Callable[..., dict[str, Any]]
GRACE_SECONDS = 5  # the parent's deadline comes first; this one ends a worker without a parent


def main() -> None:
    """Answer jobs until stdin is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _prefer_as_oom_victim()
    function, deadline = _load(sys.argv[1]), float(sys.argv[2])
    send({"event": "ready"})
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for line in sys.stdin:
        send(_answer(function, json.loads(line), deadline, send))


def _answer(
    function: Function,
    job: dict[str, Any],
    deadline: float,
    send: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the answer to one job: call `function` on a local copy of its file."""
    try:
        signal.alarm(FETCH_SECONDS + GRACE_SECONDS)
        with local_copy(job["source"]) as file:
            send({"event": "fetched"})
            signal.alarm(math.ceil(deadline) + GRACE_SECONDS)
            return {"event": "done", "value": function(file, **job["arguments"])}
    except DecodeError as error:
        return {"event": "failed", "reason": _one_line(error), "retryable": False}
    except UserError as error:
        return {"event": "fatal", "kind": "user", "message": str(error)}
    except RunError as error:
        return {"event": "fatal", "kind": "run", "message": str(error)}
    except FetchError as error:
        return {"event": "failed", "reason": str(error), "retryable": True}
    except Exception as error:  # the outermost frame of the process: any exception of a decoder
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return {"event": "fatal", "kind": "run", "message": f"disk full: {error}"}
        reason = f"{type(error).__name__}: {_one_line(error)}"
        return {"event": "failed", "reason": reason, "retryable": False}
    finally:
        signal.alarm(0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _prefer_as_oom_victim() -> None:
    """If memory runs out, let the kernel kill this worker with its bad file, not the parent."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000", encoding="ascii")


def _load(name: str) -> Function:
    module, _, attribute = name.partition(":")
    function: Function = getattr(import_module(module), attribute)
    return function


if __name__ == "__main__":
    main()
