import errno
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evossl.errors import RunError, UserError
from evossl.search.table import TrialRow, read_table, write_table

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.sampled_from(["simclr.rgb", "distill.flow->rgb.stage3", "kl", "a.b+c"])
rows = st.builds(
    TrialRow,
    trial=st.integers(-5, 10**6),
    name=st.text(max_size=5),
    status=st.sampled_from(["complete", "failed", "pruned", "running", "control"]),
    fitness=st.none() | finite,
    reason=st.none() | st.text(max_size=5),
    seconds=st.none() | finite,
    indicators=st.dictionaries(names, finite),
    weights=st.dictionaries(names, finite),
    completed=st.none() | st.integers(0, 10**6),
)
ROW = TrialRow(0, "equal weights", "complete", 1.25, None, 3.0, {"kl": 0.5}, {"simclr.rgb": 0.5}, 0)
CONTROL = TrialRow(-1, "noise", "control", None, "collapsed", 0.5)


@settings(deadline=None)
@given(table=st.lists(rows, max_size=6))
def test_what_is_written_is_read(
    table: list[TrialRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "trials.parquet"
    write_table(path, table)
    assert read_table(path) == table


def test_columns_are_those_of_the_architecture_page(tmp_path: Path) -> None:
    write_table(tmp_path / "trials.parquet", [CONTROL, ROW])
    schema = pq.read_schema(tmp_path / "trials.parquet")
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "trial": pa.int64(),
        "name": pa.string(),
        "status": pa.string(),
        "fitness": pa.float64(),
        "reason": pa.string(),
        "seconds": pa.float64(),
        "completed": pa.int64(),
        "indicator.kl": pa.float64(),
        "weight.simclr.rgb": pa.float64(),
    }


def test_a_table_of_before_there_was_an_order_of_completion_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    write_table(path, [CONTROL, ROW])
    pq.write_table(pq.read_table(path).drop_columns(["completed"]), path)
    assert read_table(path) == [CONTROL, replace(ROW, completed=None)]


def test_a_reader_of_the_old_table_keeps_it_whole_while_a_new_one_takes_its_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trials.parquet"
    write_table(path, [ROW])
    old = path.read_bytes()
    with path.open("rb") as reader:
        write_table(path, [CONTROL, ROW, ROW])
        assert reader.read() == old
    assert read_table(path) == [CONTROL, ROW, ROW]


def test_a_full_disk_is_an_error_and_the_old_table_is_whole(
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


def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such trials table"):
        read_table(tmp_path / "trials.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"path": ["a.mp4"]}), other)
    with pytest.raises(UserError, match=r"other\.parquet: not a trials table"):
        read_table(other)
    other.write_bytes(b"text")
    with pytest.raises(UserError, match=r"other\.parquet: not a trials table"):
        read_table(other)
