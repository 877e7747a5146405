"""The trials table: one row a trial, as `trials.parquet` in the run folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from evossl.errors import UserError
from evossl.io.parquet import IN_THIS_THREAD, write_parquet

Status = Literal["complete", "failed", "pruned", "running", "control"]
INDICATOR, WEIGHT = "indicator.", "weight."

_FIXED_COLUMNS = [
    ("trial", pa.int64()),
    ("name", pa.string()),
    ("status", pa.string()),
    ("fitness", pa.float64()),
    ("reason", pa.string()),
    ("seconds", pa.float64()),
    ("completed", pa.int64()),
]


@dataclass(frozen=True)
class TrialRow:
    """One trial, or a control that evolution must beat.

    Attributes:
        trial: 0 equal weights, 1, 2, ... proposed; controls -1, -2, ...
        name: "equal weights", "simclr alone", a control's name, else "".
        status: where it stands.
        fitness: nats, lower is better; None unless it was scored.
        reason: why it failed or was pruned, else None.
        seconds: wall time; None while it runs.
        indicators: what was recorded beside the fitness; only finite values.
        weights: all loss weights as proposed, fixed ones too; empty for controls.
        completed: how many trials had ended before it did; None while it runs, for controls, and
            in tables of before there was such a column.
    """

    trial: int
    name: str
    status: Status
    fitness: float | None = None
    reason: str | None = None
    seconds: float | None = None
    indicators: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    completed: int | None = None


def write_table(path: Path, rows: Sequence[TrialRow]) -> None:
    """Replace the table at `path` by `rows` in one step: a reader sees the old one or the new.

    Raises:
        RunError: it cannot be written (a full disk); the old table is whole.
    """
    write_parquet(path, _arrow(rows))


def read_table(path: Path) -> list[TrialRow]:
    """Return the rows of a table that `write_table` wrote, in its order.

    Raises:
        UserError: no such file, or not a trials table.
    """
    try:
        records = pq.read_table(path, **IN_THIS_THREAD).to_pylist()
        return [_row(record) for record in records]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such trials table; has the search begun?") from error
    except (pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"{path}: not a trials table: {error}") from error


def _arrow(rows: Sequence[TrialRow]) -> pa.Table:
    indicators = _names(row.indicators for row in rows)
    weights = _names(row.weights for row in rows)
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in _FIXED_COLUMNS
    }
    for name in indicators:
        values = [row.indicators.get(name) for row in rows]
        columns[INDICATOR + name] = pa.array(values, pa.float64())
    for name in weights:
        columns[WEIGHT + name] = pa.array([row.weights.get(name) for row in rows], pa.float64())
    return pa.table(columns)


def _names(mappings: Iterable[Mapping[str, float]]) -> list[str]:
    return sorted({name for mapping in mappings for name in mapping})


def _row(record: dict[str, Any]) -> TrialRow:
    if record["status"] not in get_args(Status):
        raise KeyError(f"status {record['status']!r}")
    whole = {"completed": None} | record  # older tables have no such column
    fixed = {name: whole[name] for name, _ in _FIXED_COLUMNS}
    return TrialRow(**fixed, indicators=_part(record, INDICATOR), weights=_part(record, WEIGHT))


def _part(record: dict[str, Any], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value
        for name, value in record.items()
        if name.startswith(prefix) and value is not None
    }
