"""A worker process: decodes one file after another, so that a hang or a crash costs one file.

`evossl.data.workers.pool` starts it: `python -m evossl.data.workers.worker MODULE:FUNCTION
DEADLINE`. Jobs come as JSON lines on stdin, answers leave as JSON lines on the first stdout; what
decoders print is discarded. It is a plain subprocess and not `multiprocessing`, whose spawn imports
the caller's main module again (torch, a notebook, an unguarded script). It does not import torch,
so that it starts fast.
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
GRACE_SECONDS = 5  # the pool's own clock comes first; this one ends a worker whose driver is gone


def main() -> None:
    """Answer jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _be_the_first_to_go()
    function, deadline = _load(sys.argv[1]), float(sys.argv[2])
    send({"event": "ready"})
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for line in sys.stdin:
        send(_answer(function, json.loads(line), deadline, send))


def _answer(
    function: Function,
    job: dict[str, Any],
    deadline: float,
    send: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the answer of one job; `function` is given a local file and the job's arguments."""
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
    except Exception as error:  # the process's outermost frame: whatever a decoder raises
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return {"event": "fatal", "kind": "run", "message": f"disk full: {error}"}
        reason = f"{type(error).__name__}: {_one_line(error)}"
        return {"event": "failed", "reason": reason, "retryable": False}
    finally:
        signal.alarm(0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _be_the_first_to_go() -> None:
    """If memory runs out, the kernel shall end the worker with the bad file, not the driver."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000", encoding="ascii")


def _load(name: str) -> Function:
    module, _, attribute = name.partition(":")
    function: Function = getattr(import_module(module), attribute)
    return function


if __name__ == "__main__":
    main()
