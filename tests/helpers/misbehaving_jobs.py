"""Jobs that hang, crash or raise, for the tests of the worker pool; run in worker processes."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from evossl.data.decode.container import DecodeError
from evossl.errors import RunError

PROBED: dict[str, Any] = {
    "seconds": 1.0,
    "fps": 12.0,
    "num_frames": 12,
    "width": 64,
    "height": 48,
    "codec": "h264",
    "audio_codec": None,
    "audio_rate": None,
}


def misbehave(path: str, **_: Any) -> dict[str, Any]:
    """Probe a file; do what its name says."""
    match Path(path).stem.split("_")[0]:
        case "hang":
            time.sleep(3600)
        case "exit":
            os._exit(7)
        case "abort":
            os.abort()
        case "crash":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "chatter":
            os.write(1, b'{"event": "done", "value": {"a": 1}}\n')
            os.write(2, b"noise")
        case "bad":
            raise DecodeError("broken: on\n purpose")
        case "odd":
            raise ZeroDivisionError("by zero")
        case "full":
            raise RunError("the disk is full")
    return dict(PROBED)


def note_and_probe(path: str, **_: Any) -> dict[str, Any]:
    """Probe a file and append its name to $EVOSSL_TEST_NOTES."""
    with Path(os.environ["EVOSSL_TEST_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(Path(path).name + "\n")
    return misbehave(path)


def loaded_modules(path: str) -> dict[str, Any]:
    """Return the modules that a worker has imported after probing and decoding."""
    from evossl.data.decode.decoder import default_decoder, probe
    from evossl.data.decode.sound import decode_sound

    probe(path)
    default_decoder().frames(path, 6.0, 32, 1.0)
    decode_sound(path, 1.0)
    return {"modules": sorted(sys.modules)}
