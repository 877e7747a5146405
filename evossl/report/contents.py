"""Reads a run folder for the report. Any part of it may be missing, damaged or still to come."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from evossl.config import SearchSpace
from evossl.data.index.index import Index, Video
from evossl.errors import UserError
from evossl.experiment.run_folder import VERDICT_FILE, RunInfo, read_run
from evossl.io.parquet import SINGLE_THREADED
from evossl.io.validation import explain
from evossl.report.records import Clusters, Scores, Step, Verdict, Winner
from evossl.report.trial_ranking import ranked
from evossl.search.table import TrialRow, read_table
from evossl.training.history import read_history

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Training:
    """The training whose clusters and losses are shown.

    It is the winner's final training or, before there is a winner, the best trial's.

    Attributes:
        title: what it is called on the page.
        trial: the trial's number; None for the winner and for a run of `evossl train`.
    """

    title: str
    trial: int | None
    history: Sequence[Step]
    clusters: Clusters | None


@dataclass(frozen=True)
class Videos:
    """What the report shows of a run's manifest.

    Attributes:
        by_path: the videos of the example clips.
        num_readable: number of readable videos; None if there is no manifest.
        quarantined: (path, reason) of each other file.
    """

    by_path: Mapping[str, Video]
    num_readable: int | None
    quarantined: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class RunContents:
    """Everything that the report shows of a run folder.

    Attributes:
        rows: of the trials table; empty if there is no table yet.
        verdict: on the winner, or on the encoder of `evossl train`.
        unreadable: one sentence for each part that exists and cannot be read.
    """

    folder: Path
    info: RunInfo
    space: SearchSpace | None
    rows: Sequence[TrialRow]
    winner: Winner | None
    verdict: Verdict | None
    scores: Scores | None
    training: Training | None
    videos: Videos
    unreadable: Sequence[str]

    @property
    def trials(self) -> list[TrialRow]:
        """The rows that are trials, in the order they were proposed."""
        return sorted((row for row in self.rows if not row.is_control), key=lambda row: row.trial)

    @property
    def controls(self) -> list[TrialRow]:
        """The rows that are controls."""
        return [row for row in self.rows if row.is_control]

    @property
    def best(self) -> TrialRow | None:
        """The complete trial of lowest fitness."""
        return next(iter(ranked(self.rows)), None)


def read_contents(folder: Path) -> RunContents:
    """Return what a run folder contains at this moment.

    Raises:
        UserError: it has no `run.yaml`, or one that cannot be read.
    """
    info = read_run(folder)
    faults: list[str] = []
    space = _try_reading(faults, lambda: info.parsed_space)
    table = folder / "trials.parquet"
    rows = (_try_reading(faults, lambda: read_table(table)) if table.is_file() else None) or []
    winner = _read_model(faults, folder / "winner" / "winner.json", Winner)
    scores = _read_model(faults, folder / "winner" / "evaluation.json", Scores)
    training = _read_training(faults, folder, rows)
    clusters = training.clusters if training else None
    manifest = folder / "manifest.parquet"
    videos = _try_reading(faults, lambda: _read_videos(manifest, clusters))
    return RunContents(
        folder=folder,
        info=info,
        space=space,
        rows=rows,
        winner=winner,
        verdict=winner.verdict if winner else _read_model(faults, folder / VERDICT_FILE, Verdict),
        scores=scores,
        training=training,
        videos=videos or Videos({}, None, []),
        unreadable=faults,
    )


def _try_reading(faults: list[str], read_part: Callable[[], T]) -> T | None:
    """Return the part; None if it cannot be read, with the reason appended to `faults`."""
    try:
        return read_part()
    except (UserError, OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        faults.append(str(error))
        return None


def _read_model(faults: list[str], path: Path, kind: type[M]) -> M | None:
    if not path.is_file():
        return None
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        faults.append(_first_fault(path, error, kind))
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except ValueError:
        faults.append(f"{path}: damaged: not JSON")
    return None


def _read_training(faults: list[str], folder: Path, rows: Sequence[TrialRow]) -> Training | None:
    """Return the first training that has a history or clusters; None if there is none."""
    for title, trial, place in _training_candidates(folder, rows):
        history = _try_reading(faults, partial(_read_steps, place)) or []
        clusters = _read_model(faults, place / "clusters.json", Clusters)
        if history or clusters:
            return Training(title, trial, history, clusters)
    return None


def _training_candidates(
    folder: Path, rows: Sequence[TrialRow]
) -> list[tuple[str, int | None, Path]]:
    """Return (title, trial, folder) of the winner, the trials from best to worst, those running.

    The run folder itself comes last: `evossl train` writes its history there.
    """
    trials = folder / "trials"
    found: list[tuple[str, int | None, Path]] = [("the winner", None, folder / "winner")]
    for rank, row in enumerate(ranked(rows)):
        note = "the best so far" if rank == 0 else f"number {rank + 1} so far"
        found.append((f"trial {row.trial} ({note})", row.trial, trials / str(row.trial)))
    for row in rows:
        if row.status == "running":
            title = f"trial {row.trial} (still running)"
            found.append((title, row.trial, trials / str(row.trial)))
    return [*found, ("this training", None, folder)]


def _read_steps(place: Path) -> list[Step]:
    path = place / "history.jsonl"
    try:
        return [Step.model_validate(line) for line in read_history(path)]
    except ValidationError as error:
        raise ValueError(_first_fault(path, error, Step)) from error
    except ValueError as error:
        raise ValueError(f"{path}: damaged: not JSON lines") from error


def _first_fault(path: Path, error: ValidationError, kind: type[BaseModel]) -> str:
    """Describe the first mistake in a file."""
    first, *_ = explain(error, kind)
    return f"{path}: not in the format that evossl writes: {first}"


def _read_videos(manifest: Path, clusters: Clusters | None) -> Videos:
    """Read a manifest. It may have a million rows, so only rows that are shown become objects."""
    if not manifest.is_file():
        return Videos({}, None, [])
    shown = sorted({e.path for row in clusters.examples for e in row} if clusters else set())
    is_ok, is_quarantined = (_column_in("status", [word]) for word in ("ok", "quarantined"))
    num_readable = len(pq.read_table(manifest, columns=["path"], filters=is_ok, **SINGLE_THREADED))
    others = Index(pq.read_table(manifest, filters=is_quarantined, **SINGLE_THREADED)).quarantined
    found: list[Video] = []
    if shown:
        rows = pq.read_table(manifest, filters=_column_in("path", shown), **SINGLE_THREADED)
        found = Index(rows).videos
    return Videos({video.path: video for video in found}, num_readable, others)


def _column_in(column: str, values: Sequence[str]) -> list[tuple[str, str, Any]]:
    return [(column, "in", list(values))]
