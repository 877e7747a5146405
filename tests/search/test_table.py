import errno
import os
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evossl.errors import RunError, UserError
from evossl.search.table import Status, TrialRow, read_table, write_table

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.sampled_from(["simclr.rgb", "distill.flow->rgb.stage3", "kl", "a.b+c"])
rows = st.builds(
    TrialRow,
    trial=st.integers(-5, 10**6),
    name=st.text(max_size=5),
    status=st.sampled_from(list(get_args(Status))),
    fitness=st.none() | finite,
    reason=st.none() | st.text(max_size=5),
    seconds=st.none() | finite,
    indicators=st.dictionaries(names, finite),
    weights=st.dictionaries(names, finite),
    completed=st.none() | st.integers(0, 10**6),
    parent=st.none() | st.integers(0, 10**6),
)
ROW = TrialRow(0, "equal weights", "complete", 1.25, None, 3.0, {"kl": 0.5}, {"simclr.rgb": 0.5}, 0)
CONTROL = TrialRow(-1, "noise", "control", None, "collapsed", 0.5, kind="noise")


@settings(deadline=None)
@given(table=st.lists(rows, max_size=6))
def test_a_table_survives_a_round_trip(
    table: list[TrialRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "trials.parquet"
    write_table(path, table)
    assert read_table(path) == table


def test_columns_and_types(tmp_path: Path) -> None:
    write_table(tmp_path / "trials.parquet", [CONTROL, ROW])
    schema = pq.read_schema(tmp_path / "trials.parquet")
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "trial": pa.int64(),
        "kind": pa.string(),
        "name": pa.string(),
        "status": pa.string(),
        "fitness": pa.float64(),
        "reason": pa.string(),
        "seconds": pa.float64(),
        "completed": pa.int64(),
        "parent": pa.int64(),
        "indicator.kl": pa.float64(),
        "weight.simclr.rgb": pa.float64(),
    }


@pytest.mark.parametrize("column", ["completed", "kind"])
def test_a_table_of_an_older_version_is_refused(tmp_path: Path, column: str) -> None:
    path = tmp_path / "trials.parquet"
    write_table(path, [CONTROL, ROW])
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(UserError, match=f"no column {column}; start a new search"):
        read_table(path)


def test_replacing_a_table_does_not_disturb_readers(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    write_table(path, [ROW])
    old = path.read_bytes()
    with path.open("rb") as reader:
        write_table(path, [CONTROL, ROW, ROW])
        assert reader.read() == old
    assert read_table(path) == [CONTROL, ROW, ROW]


def test_a_full_disk_leaves_the_old_table_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trials.parquet"
    write_table(path, [ROW])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"trials\.parquet: the disk is full"):
        write_table(path, [ROW, CONTROL])
    assert read_table(path) == [ROW]
    assert os.listdir(tmp_path) == ["trials.parquet"]  # noqa: PTH208


def test_a_file_that_is_not_a_trials_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; has the search started"):
        read_table(tmp_path / "trials.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"path": ["a.mp4"]}), other)
    with pytest.raises(UserError, match=r"other\.parquet: not a trials table"):
        read_table(other)
    other.write_bytes(b"text")
    with pytest.raises(UserError, match=r"other\.parquet: not a trials table"):
        read_table(other)
