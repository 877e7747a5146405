"""The training history: one JSON line per logged step."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evossl.io.files import write_error, write_text


@dataclass(frozen=True)
class Conflict:
    """Cosines between the terms' gradients on the RGB encoder, in one batch.

    Attributes:
        terms: those that train the RGB encoder. cosine: one row per term, in [-1, 1]; 1 on the
            diagonal.
    """

    terms: list[str]
    cosine: list[list[float]]


@dataclass(frozen=True)
class StepReport:
    """One logged step.

    Attributes:
        step: steps done, from 1.
        total: the objective.
        lr: learning rate of the encoders in this step.
        grad_norm: before clipping.
        seconds: since the training started or resumed.
        clips_per_second: since then.
        data_wait: share of the time spent waiting for clips.
        loss: each term's raw loss.
        weighted: each term's part of the objective.
        skipped: batches so far in which a term had too few valid samples.
        conflict: None in steps that do not measure it.
        cpu_share: share of the CPU time it asked for that the training got lately; None if unknown
            or if too short a time has passed. See `cpu_share.CpuMeter`.
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
    cpu_share: float | None = None


def append(path: Path, report: StepReport) -> None:
    """Append a report as one line.

    Raises:
        RunError: the disk is full.
    """
    line = json.dumps(asdict(report)) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise write_error(path, error) from error


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the reports as plain data, skipping an incomplete last line; [] without a file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate(path: Path, step: int) -> None:
    """Drop the lines after `step`, which a resumed training will write again.

    Raises:
        RunError: the disk is full; the file is unchanged.
    """
    if path.is_file():
        lines = [json.dumps(line) for line in read_history(path) if line["step"] <= step]
        write_text(path, "".join(f"{line}\n" for line in lines))


def first_not_finite(values: dict[str, float]) -> str | None:
    """Return the name of the first value that is NaN or infinite."""
    return next((name for name, value in values.items() if not math.isfinite(value)), None)
