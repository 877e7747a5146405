"""The trials table, `trials.parquet` in the run folder: one row per trial or control."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from evossl.errors import UserError
from evossl.genes import GeneValue
from evossl.io.parquet import SINGLE_THREADED, write_parquet

Status = Literal["complete", "at_chance", "failed", "pruned", "running", "control"]
ControlKind = Literal["random_init", "noise", "zipf_blobs", "colour_grid"]
Kind = Literal["trial"] | ControlKind
KINDS = ("trial", *get_args(ControlKind))
INDICATOR_PREFIX, WEIGHT_PREFIX, GENE_PREFIX = "indicator.", "weight.", "gene."

_FIXED_COLUMNS = [
    ("trial", pa.int64()),
    ("kind", pa.string()),
    ("name", pa.string()),
    ("status", pa.string()),
    ("fitness", pa.float64()),
    ("reason", pa.string()),
    ("seconds", pa.float64()),
    ("completed", pa.int64()),
    ("parent", pa.int64()),
]


@dataclass(frozen=True)
class TrialRow:
    """One trial, or a control: a baseline that the winner must beat.

    Attributes:
        trial: number; 0 has equal weights, and controls have -1, -2, ...
        name: "equal weights", "simclr alone", the name of a control, or "".
        status: of the trial; "control" for controls. "at_chance": the encoder was scored, and two
            views of a clip agree no better than chance, so that its fitness means nothing.
        fitness: nats, lower is better; None if it was not scored, or is at chance.
        reason: why the trial failed, was pruned or is at chance; None otherwise.
        seconds: wall time; None while it runs.
        indicators: finite values by name.
        weights: all loss weights as proposed, fixed ones included; empty for controls.
        completed: number of trials that finished before this one; None while it runs, and for
            controls.
        kind: "trial", or the kind of control.
        parent: the trial whose checkpoint it started from; None for the initial weights.
        genes: values of the genes other than weights; empty for controls.
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
    kind: Kind = "trial"
    parent: int | None = None
    genes: Mapping[str, GeneValue] = field(default_factory=dict)

    @property
    def is_control(self) -> bool:
        """Whether this is the row of a control."""
        return self.kind != "trial"


def write_table(path: Path, rows: Sequence[TrialRow]) -> None:
    """Replace the table at `path` atomically: a reader sees the old table or the new one.

    Raises:
        RunError: the table cannot be written, for example on a full disk; the old one is intact.
    """
    write_parquet(path, _arrow(rows))


def read_table(path: Path) -> list[TrialRow]:
    """Return the rows of a table that `write_table` wrote, in the same order.

    Raises:
        UserError: the file does not exist, or is not a trials table of this version of evossl.
    """
    try:
        table = pq.read_table(path, **SINGLE_THREADED)
        missing = [name for name, _ in _FIXED_COLUMNS if name not in table.column_names]
        if missing:
            raise UserError(
                f"{path}: not a trials table of this version of evossl: no column "
                f"{', '.join(missing)}; start a new search"
            )
        return [_row(record) for record in table.to_pylist()]
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; has the search started?") from error
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
        columns[INDICATOR_PREFIX + name] = pa.array(values, pa.float64())
    for name in weights:
        columns[WEIGHT_PREFIX + name] = pa.array(
            [row.weights.get(name) for row in rows], pa.float64()
        )
    for name in _names(row.genes for row in rows):  # of one type: see `genes.read_gene`
        columns[GENE_PREFIX + name] = pa.array([row.genes.get(name) for row in rows])
    return pa.table(columns)


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({name for mapping in mappings for name in mapping})


def _row(record: dict[str, Any]) -> TrialRow:
    if record["status"] not in get_args(Status):
        raise KeyError(f"status {record['status']!r}")
    if record["kind"] not in KINDS:
        raise KeyError(f"kind {record['kind']!r}")
    fixed = {name: record[name] for name, _ in _FIXED_COLUMNS}
    return TrialRow(
        **fixed,
        indicators=_part(record, INDICATOR_PREFIX),
        weights=_part(record, WEIGHT_PREFIX),
        genes=_part(record, GENE_PREFIX),
    )


def _part(record: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in record.items()
        if name.startswith(prefix) and value is not None
    }
