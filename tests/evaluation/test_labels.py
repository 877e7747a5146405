from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from evossl.errors import UserError
from evossl.evaluation.labels import labelled_videos, read_split

PATHS = ["/data/run/a.mp4", "/data/run/b.mp4", "/data/jump/a.mp4", "/data/jump/c.mp4"]
DATA = labelled_videos(["run", "run", "jump", "jump"], PATHS)


def write(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_videos_without_a_label_are_left_out_and_counted() -> None:
    data = labelled_videos(["run", None, "", "jump", "run"], ["v1", "v1", "v2", "v3", "v4"])
    assert data.videos == (0, 3, 4)
    assert data.num_unlabelled == 2
    assert data.classes == ("jump", "run")
    assert data.class_N.tolist() == [1, 0, 1]
    assert len(set(data.group_N)) == 3


@pytest.mark.parametrize("labels", [["run", "run"], [None, None], ["run", None]])
def test_fewer_than_two_classes_are_refused(labels) -> None:
    with pytest.raises(UserError, match="at least 2 classes"):
        labelled_videos(labels, ["v1", "v2"])


def test_a_split_without_its_columns_is_refused(tmp_path) -> None:
    file = write(tmp_path / "s.csv", "path,folds\nrun/a.mp4,1\n")
    with pytest.raises(UserError, match=r"s\.csv: unknown column 'fold': did you mean 'folds'"):
        read_split(file, PATHS, DATA)
    file = write(tmp_path / "s.csv", "file,fold\nrun/a.mp4,1\n")
    with pytest.raises(UserError, match="unknown column 'path'"):
        read_split(file, PATHS, DATA)


def test_a_path_that_fits_two_videos_is_refused(tmp_path) -> None:
    file = write(tmp_path / "s.csv", "path,split\na.mp4,train\n")
    with pytest.raises(UserError, match=r"'a\.mp4' fits 2 videos"):
        read_split(file, PATHS, DATA)


@pytest.mark.parametrize("rows", ["else.mp4,train\n", ""])
def test_a_split_of_other_videos_is_refused(tmp_path, rows) -> None:
    with pytest.raises(UserError, match="none of its paths"):
        read_split(write(tmp_path / "s.csv", f"path,split\n{rows}"), PATHS, DATA)


def test_a_missing_split_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_split(str(tmp_path / "none.csv"), PATHS, DATA)


def test_a_split_may_be_parquet_with_numbers(tmp_path) -> None:
    table = pa.table({"path": PATHS, "fold": [0, 1, 1, 0]})
    parquet.write_table(table, tmp_path / "s.parquet")
    _, folds = read_split(str(tmp_path / "s.parquet"), PATHS, DATA)
    assert [f.test_idx.tolist() for f in folds] == [[0, 3], [1, 2]]


def test_a_split_column_gives_one_fold(tmp_path) -> None:
    lines = "run/a.mp4,train\nrun/b.mp4,test\njump/c.mp4,train\n"
    kept, folds = read_split(write(tmp_path / "s.csv", f"path,split\n{lines}"), PATHS, DATA)
    assert kept.videos == (0, 1, 3)
    assert [(f.train_idx.tolist(), f.test_idx.tolist()) for f in folds] == [([0, 2], [1])]


def test_a_fold_column_gives_a_fold_per_value(tmp_path) -> None:
    lines = "run/a.mp4,1\nrun/b.mp4,2\njump/a.mp4,1\njump/c.mp4,2\n"
    _, folds = read_split(write(tmp_path / "s.csv", f"path,fold\n{lines}"), PATHS, DATA)
    assert [f.test_idx.tolist() for f in folds] == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("run/a.mp4,tran\njump/c.mp4,test\n", "unknown split 'tran': did you mean 'train'"),
        ("run/a.mp4,train\njump/c.mp4,train\n", "a side has no labelled clips"),
        ("run/a.mp4,train\njump/c.mp4,test\n", "at least 2 classes"),
    ],
)
def test_an_unusable_split_is_refused(tmp_path, rows, words) -> None:
    with pytest.raises(UserError, match=words):
        read_split(write(tmp_path / "s.csv", f"path,split\n{rows}"), PATHS, DATA)


def test_a_split_with_a_group_on_both_sides_is_refused(tmp_path) -> None:
    data = labelled_videos(["run", "run", "jump", "jump"], ["v1", "v1", "v2", "v3"])
    lines = "run/a.mp4,train\nrun/b.mp4,test\njump/a.mp4,train\njump/c.mp4,test\n"
    with pytest.raises(UserError, match="group 'v1' is on both sides"):
        read_split(write(tmp_path / "s.csv", f"path,split\n{lines}"), PATHS, data)
