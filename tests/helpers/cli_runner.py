"""What a person sees of a command, and a space that is right."""

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
class Answer:
    """Exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]
