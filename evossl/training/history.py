"""History: what a training said on its way, as JSON lines."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evossl.io.files import explained, write_atomically


@dataclass(frozen=True)
class Conflict:
    """Cosines between the gradients of terms on the RGB encoder, in one batch.

    Attributes:
        terms: those that reach it. cosine: a row a term, in [-1, 1], the diagonal 1.
    """

    terms: list[str]
    cosine: list[list[float]]


@dataclass(frozen=True)
class StepReport:
    """One logged step.

    Attributes:
        step: steps done, from 1. total: the objective. lr: learning rate of the step.
        grad_norm: before clipping. seconds: since the training began (or was resumed).
        clips_per_second: since then. data_wait: share of the time spent waiting for clips.
        loss: by term, raw. weighted: by term, as summed. skipped: by term, batches with too few
            valid samples so far. conflict: None at steps that do not measure it.
    """

    step: int
    total: float
    lr: float
    grad_norm: float
    seconds: float
    clips_per_second: float
    data_wait: float
    loss: dict[str, float]
    weighted: dict[str, float]
    skipped: dict[str, int]
    conflict: Conflict | None = None


def append(path: Path, report: StepReport) -> None:
    """Append one line.

    Raises:
        RunError: the disk is full.
    """
    line = json.dumps(asdict(report)) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise explained(path, error) from error


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the lines, skipping a torn last one; none if there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def cut(path: Path, step: int) -> None:
    """Drop lines after `step`: a resumed training writes them again.

    Raises:
        RunError: the disk is full; the file is as it was.
    """
    if path.is_file():
        kept = [line for line in read_history(path) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(path, lambda beside: _write(beside, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def first_not_finite(values: dict[str, float]) -> str | None:
    """Return the name of the first value that is NaN or infinite."""
    return next((name for name, value in values.items() if not math.isfinite(value)), None)
