"""What a run folder holds at this moment: every part may be missing, torn or not there yet."""

import json
import math
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
from evossl.experiment.run_folder import RunInfo, read_run
from evossl.io.parquet import IN_THIS_THREAD
from evossl.io.validation import explain
from evossl.report.records import Clusters, Scores, Step, Winner
from evossl.search.table import TrialRow, read_table
from evossl.training.history import read_history

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Training:
    """A training whose clusters and losses are shown: the winner's, or the best trial's.

    `trial` is None for the winner's and for a run that is one training.
    """

    title: str
    trial: int | None
    history: Sequence[Step]
    clusters: Clusters | None


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes:
        rows: of the trials table; none if there is no table yet.
        videos: the readable ones among those that clusters show, by path.
        num_videos: readable ones of the index, or None without an index.
        set_aside: (path, reason) of the others.
        unreadable: what is there and cannot be read, in words.
    """

    folder: Path
    info: RunInfo
    space: SearchSpace | None
    rows: Sequence[TrialRow]
    winner: Winner | None
    scores: Scores | None
    training: Training | None
    videos: Mapping[str, Video]
    num_videos: int | None
    set_aside: Sequence[tuple[str, str]]
    unreadable: Sequence[str]

    @property
    def trials(self) -> list[TrialRow]:
        """The rows that are trials, in the order they were proposed."""
        return sorted((row for row in self.rows if row.trial >= 0), key=lambda row: row.trial)

    @property
    def controls(self) -> list[TrialRow]:
        """The rows that are controls."""
        return [row for row in self.rows if row.trial < 0]

    @property
    def best(self) -> TrialRow | None:
        """The complete trial of lowest fitness."""
        return next(iter(ranked(self.rows)), None)


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the complete trials, best first."""
    scored = [row for row in rows if row.status == "complete" and is_scored(row)]
    return sorted(scored, key=lambda row: (fitness_of(row), row.trial))


def is_scored(row: TrialRow) -> bool:
    """Say whether a row has a finite fitness."""
    return row.fitness is not None and math.isfinite(row.fitness)


def fitness_of(row: TrialRow) -> float:
    """Return the fitness of a row that has one."""
    assert row.fitness is not None
    return row.fitness


def read(folder: Path) -> Run:
    """Return what is in a run folder.

    Raises:
        UserError: it has no `run.yaml`, or one that cannot be read.
    """
    info = read_run(folder)
    faults: list[str] = []
    space = _tolerant(faults, info.parsed_space)
    table = folder / "trials.parquet"
    rows = (_tolerant(faults, lambda: read_table(table)) if table.is_file() else None) or []
    winner = _model(faults, folder / "winner" / "winner.json", Winner)
    scores = _model(faults, folder / "winner" / "evaluation.json", Scores)
    training = _training(faults, folder, rows)
    index = _tolerant(faults, lambda: _index(folder / "manifest.parquet", training))
    videos, count, aside = index or ({}, None, [])
    return Run(
        folder=folder,
        info=info,
        space=space,
        rows=rows,
        winner=winner,
        scores=scores,
        training=training,
        videos=videos,
        num_videos=count,
        set_aside=aside,
        unreadable=faults,
    )


def _tolerant(faults: list[str], read_part: Callable[[], T]) -> T | None:
    """The part, or None and a line about its fault."""
    try:
        return read_part()
    except (UserError, OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        faults.append(str(error))
        return None


def _model(faults: list[str], path: Path, kind: type[M]) -> M | None:
    if not path.is_file():
        return None
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        faults.append(_wrong(path, error, kind))
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except ValueError:
        faults.append(f"{path}: damaged, not JSON")
    return None


def _training(faults: list[str], folder: Path, rows: Sequence[TrialRow]) -> Training | None:
    """The winner's; before there is one, the best trial's; of `evossl train`, the run's own."""
    trials = folder / "trials"
    candidates: list[tuple[str, int | None, Path]] = [("the winner", None, folder / "winner")]
    for rank, row in enumerate(ranked(rows)):
        note = "the best so far" if rank == 0 else f"number {rank + 1} so far"
        candidates.append((f"trial {row.trial}, {note}", row.trial, trials / str(row.trial)))
    for row in rows:
        if row.status == "running":
            title = f"trial {row.trial}, still running"
            candidates.append((title, row.trial, trials / str(row.trial)))
    for title, trial, place in [*candidates, ("this training", None, folder)]:
        history = _tolerant(faults, partial(_history, place)) or []
        clusters = _model(faults, place / "clusters.json", Clusters)
        if history or clusters:
            return Training(title, trial, history, clusters)
    return None


def _history(place: Path) -> list[Step]:
    path = place / "history.jsonl"
    try:
        return [Step.model_validate(line) for line in read_history(path)]
    except ValidationError as error:
        raise ValueError(_wrong(path, error, Step)) from error
    except ValueError as error:
        raise ValueError(f"{path}: damaged, not JSON lines") from error


def _wrong(path: Path, error: ValidationError, kind: type[BaseModel]) -> str:
    """The first thing that is wrong in a file."""
    first, *_ = explain(error, kind, "all of it")
    return f"{path}: not as evossl writes it: {first}"


def _index(
    manifest: Path, training: Training | None
) -> tuple[dict[str, Video], int | None, list[tuple[str, str]]]:
    """Videos that are shown, the count of readable ones, those set aside.

    A manifest may have a million rows: only the ones that are needed become objects.
    """
    if not manifest.is_file():
        return {}, None, []
    clusters = training.clusters if training else None
    shown = sorted({e.path for row in clusters.examples for e in row} if clusters else set())
    ok, set_aside = (_where("status", [status]) for status in ("ok", "quarantined"))
    count = len(pq.read_table(manifest, columns=["path"], filters=ok, **IN_THIS_THREAD))
    aside = Index(pq.read_table(manifest, filters=set_aside, **IN_THIS_THREAD)).quarantined
    found: list[Video] = []
    if shown:
        of_sheets = pq.read_table(manifest, filters=_where("path", shown), **IN_THIS_THREAD)
        found = Index(of_sheets).videos
    return {video.path: video for video in found}, count, aside


def _where(column: str, values: Sequence[str]) -> list[tuple[str, str, Any]]:
    return [(column, "in", list(values))]
