"""What goes to a worker process and what comes back, as plain data."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FileJob:
    """One file for a worker process.

    Attributes:
        number: identifies the job within a run; the result has the same number.
        source: path or URL; the worker's function is called with a local file.
        arguments: its keyword arguments, plain data.
    """

    number: int
    source: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """The result of a `FileJob`.

    Attributes:
        number: the job's number.
        value: what the function returned, or None if it failed.
        reason: why it failed, or None.
        retryable: another attempt may succeed (deadline, dead process, network).
    """

    number: int
    value: dict[str, Any] | None = None
    reason: str | None = None
    retryable: bool = False
