"""Types of the fixture that runs the command line, and a small valid search space."""

from collections.abc import Callable
from dataclasses import dataclass

SPACE = """\
ignores: [colour, crop, time]
tasks:
  simclr: {places: [rgb]}
backbone: {width: 8}
clip: {frames: 4, size: 32, stretch: 16}
cache: {short_side: 40, max_seconds: 4}
training: {batch_size: 4}
fitness: {clips: 16, clusters: 3}
"""


@dataclass(frozen=True)
class Output:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


RunCli = Callable[..., Output]
