from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from evossl.errors import UserError
from evossl.evaluation.labels import labelled, labels_from, read_table, split_from

PATHS = ["/data/run/a.mp4", "/data/run/b.mp4", "/data/jump/a.mp4", "/data/jump/c.mp4"]
DATA = labelled(["run", "run", "jump", "jump"], [None] * 4)


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def test_clips_without_a_label_are_left_out_and_counted() -> None:
    data = labelled(["run", None, "", "jump", "run"], ["v1", "v1", None, None, None])
    assert data.videos == (0, 3, 4)
    assert data.num_unlabelled == 2
    assert data.classes == ("jump", "run")
    assert data.class_N.tolist() == [1, 0, 1]
    assert len(set(data.group_N)) == 3


def test_a_group_named_like_a_row_is_not_that_row() -> None:
    assert len(set(labelled(["a", "b", "a"], ["row 1", None, "1"]).groups)) == 3


@pytest.mark.parametrize("labels", [["run", "run"], [None, None], ["run", None]])
def test_one_class_or_none_is_refused(labels) -> None:
    with pytest.raises(UserError, match="at least 2 classes"):
        labelled(labels, [None, None])


def test_labels_come_from_a_column_of_parquet_by_the_end_of_the_path(tmp_path) -> None:
    table = pa.table({"path": ["jump/c.mp4", "run/b.mp4", "gone.mp4"], "motion": [7, 3, 5]})
    parquet.write_table(table, tmp_path / "labels.parquet")
    found = labels_from(tmp_path / "labels.parquet", "motion", PATHS)
    assert found == [None, "3", None, "7"]


def test_labels_of_csv_are_read_as_they_are_written(tmp_path) -> None:
    file = write(tmp_path / "l.csv", 'path,label\nrun/a.mp4,007\nrun/b.mp4,\n"jump/c.mp4","a, b"\n')
    assert labels_from(file, "label", PATHS) == ["007", None, None, "a, b"]


def test_a_column_that_is_missing_names_its_neighbour(tmp_path) -> None:
    file = write(tmp_path / "l.csv", "path,labels\nrun/a.mp4,1\n")
    with pytest.raises(UserError, match=r"l\.csv: unknown column 'label': did you mean 'labels'"):
        labels_from(file, "label", PATHS)


def test_a_path_that_fits_two_videos_is_refused(tmp_path) -> None:
    file = write(tmp_path / "l.csv", "path,label\na.mp4,x\n")
    with pytest.raises(UserError, match=r"'a\.mp4' fits 2 videos"):
        labels_from(file, "label", PATHS)


@pytest.mark.parametrize("text", ["path,label\nelse.mp4,x\n", "path,label\n"])
def test_a_table_of_other_videos_is_refused(tmp_path, text) -> None:
    file = write(tmp_path / "l.csv", text)
    with pytest.raises(UserError, match="none of its paths"):
        labels_from(file, "label", PATHS)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_file_that_is_no_table_is_refused(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b'path,label\n"\xff\xfe')
    with pytest.raises(UserError, match="not a CSV or Parquet table"):
        read_table(tmp_path / name)


def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="row 2 has more cells"):
        read_table(write(tmp_path / "t.csv", "path,label\na,1\nb,1,2\n"))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")


def test_a_split_gives_one_fold_and_leaves_out_what_it_does_not_name(tmp_path) -> None:
    lines = "run/a.mp4,train\nrun/b.mp4,test\njump/c.mp4,train\n"
    kept, folds = split_from(write(tmp_path / "s.csv", f"path,split\n{lines}"), PATHS, DATA)
    assert kept.videos == (0, 1, 3)
    assert [(f.train_idx.tolist(), f.test_idx.tolist()) for f in folds] == [([0, 2], [1])]


def test_a_fold_column_gives_a_fold_for_each_of_its_values(tmp_path) -> None:
    lines = "run/a.mp4,1\nrun/b.mp4,2\njump/a.mp4,1\njump/c.mp4,2\n"
    _, folds = split_from(write(tmp_path / "s.csv", f"path,fold\n{lines}"), PATHS, DATA)
    assert [f.test_idx.tolist() for f in folds] == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("run/a.mp4,tran\njump/c.mp4,test\n", "unknown split 'tran': did you mean 'train'"),
        ("run/a.mp4,train\njump/c.mp4,train\n", "a side without labelled clips"),
        ("run/a.mp4,train\njump/c.mp4,test\n", "at least 2 classes"),
    ],
)
def test_a_split_that_cannot_be_used_is_refused(tmp_path, rows, words) -> None:
    with pytest.raises(UserError, match=words):
        split_from(write(tmp_path / "s.csv", f"path,split\n{rows}"), PATHS, DATA)


def test_a_split_with_a_group_on_both_sides_is_refused(tmp_path) -> None:
    data = labelled(["run", "run", "jump", "jump"], ["v1", "v1", "v2", "v3"])
    lines = "run/a.mp4,train\nrun/b.mp4,test\njump/a.mp4,train\njump/c.mp4,test\n"
    with pytest.raises(UserError, match="group v1 stands on both sides"):
        split_from(write(tmp_path / "s.csv", f"path,split\n{lines}"), PATHS, data)
