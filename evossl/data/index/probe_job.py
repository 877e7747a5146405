"""The job of a worker process that builds the index: probe one file."""

from dataclasses import asdict
from typing import Any

PROBE_JOB = "evossl.data.index.probe_job:probe_file"


def probe_file(path: str) -> dict[str, Any]:
    """Return the fields of `evossl.data.decode.decoder.Probe` for a local file.

    Raises:
        DecodeError: no frame can be decoded; the message is the reason.
    """
    from evossl.data.decode.decoder import probe

    return asdict(probe(path))
