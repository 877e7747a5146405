"""Sources: which files are videos, their labels and their groups."""

import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from evossl.data.index.sources import SourceFile, scan
from evossl.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def labels(source: str | Path) -> dict[str, str | None]:
    return {Path(found.path).name: found.label for found in scan(str(source))}


def test_the_label_is_the_first_folder_below_the_root(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "jump/deep/b.mp4", "jump/c.webm")
    assert labels(tmp_path) == {"a.mp4": "run", "b.mp4": "jump", "c.webm": "jump"}


def test_a_level_that_all_videos_share_is_not_a_label(tmp_path: Path) -> None:
    touch(tmp_path, "set/train/run/a.mp4", "set/train/jump/b.mp4")
    assert labels(tmp_path) == {"a.mp4": "run", "b.mp4": "jump"}
    assert labels(tmp_path / "set") == {"a.mp4": "run", "b.mp4": "jump"}


def test_a_single_class_folder_is_still_the_label(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "run/b.mp4")
    assert labels(tmp_path) == {"a.mp4": "run", "b.mp4": "run"}


def test_videos_in_the_root_have_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "run/c.mp4")
    assert labels(tmp_path) == {"a.mp4": None, "b.mp4": None, "c.mp4": "run"}


def test_only_video_extensions_count_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.MP4", "labels.parquet", "notes.txt", ".hidden.mp4", "._a.mp4", ".git/x.mp4")
    assert [Path(found.path).name for found in scan(str(tmp_path))] == ["a.MP4"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "real/run/a.mp4", "other/b.mp4")
    (tmp_path / "real/linked").symlink_to(tmp_path / "other")
    (tmp_path / "real/run/up").symlink_to(tmp_path / "real")
    assert labels(tmp_path / "real") == {"a.mp4": "run", "b.mp4": "linked"}


def test_a_glob_takes_the_videos_it_matches(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "jump/b.mp4", "jump/c.txt", "d.mp4")
    assert labels(tmp_path / "*" / "*") == {"a.mp4": "run", "b.mp4": "jump"}
    assert set(labels(tmp_path / "**" / "*.mp4")) == {"a.mp4", "b.mp4", "d.mp4"}


def test_a_name_with_brackets_that_exists_is_not_a_glob(tmp_path: Path) -> None:
    touch(tmp_path, "set[1]/a.mp4", "b[2].mp4")
    assert labels(tmp_path / "set[1]") == {"a.mp4": None}
    assert labels(tmp_path / "b[2].mp4") == {"b[2].mp4": None}


def test_a_manifest_gives_labels_groups_and_further_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "path": ["clips/a.mp4", "/elsewhere/b.mp4"],
            "label": [3, None],
            "group": ["film", None],
            "sound": ["beep", "hum"],
        }
    )
    pa.parquet.write_table(table, tmp_path / "m.parquet")
    assert scan(str(tmp_path / "m.parquet")) == [
        SourceFile(f"{tmp_path}/clips/a.mp4", "3", "film", {"sound": "beep"}),
        SourceFile("/elsewhere/b.mp4", None, "/elsewhere/b.mp4", {"sound": "hum"}),
    ]


def test_a_csv_manifest_keeps_its_order_and_takes_any_extension(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\nz.dat,run\na.mp4,\n", encoding="utf-8")
    assert scan(str(tmp_path / "m.csv")) == [
        SourceFile(f"{tmp_path}/z.dat", "run", "z.dat"),
        SourceFile(f"{tmp_path}/a.mp4", None, "a.mp4"),
    ]


def test_moving_a_folder_keeps_its_groups(tmp_path: Path) -> None:
    touch(tmp_path, "old/run/a.mp4", "old/jump/b.mp4")
    (tmp_path / "old/m.csv").write_text("path\nrun/a.mp4\njump/b.mp4\n", encoding="utf-8")
    (tmp_path / "new").symlink_to(tmp_path / "old")
    for source in ("new", "new/*/*.mp4", "new/m.csv"):
        assert {found.group for found in scan(str(tmp_path / source))} == {
            "run/a.mp4",
            "jump/b.mp4",
        }


def test_a_relative_source_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "set/a.mp4")
    (tmp_path / "set/m.csv").write_text("path\na.mp4\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for source in ("set", "set/m.csv", "set/*.mp4", "set/a.mp4", f"file://{tmp_path}/set"):
        assert [found.path for found in scan(source)] == [f"{tmp_path}/set/a.mp4"], source


def test_memory_urls_scan_as_folders_globs_and_manifests() -> None:
    files = fsspec.filesystem("memory")
    for name in ("scan/run/a.mp4", "scan/jump/b.mp4", "scan/notes.txt"):
        files.pipe(name, b"x")
    files.pipe("scan/m.csv", b"path,label\nrun/a.mp4,walk\n")
    assert labels("memory://scan") == {"a.mp4": "run", "b.mp4": "jump"}
    assert labels("memory://scan/*/*.mp4") == {"a.mp4": "run", "b.mp4": "jump"}
    (row,) = scan("memory://scan/m.csv")
    assert (row.path, row.label) == ("memory://scan/run/a.mp4", "walk")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere: no such folder, file or glob"),
        ("empty", "empty: no videos here"),
        ("empty/*.mp4", "no videos here"),
        ("m.csv", "m.csv: no column 'path'; its columns are: file, label"),
        ("none.csv", "none.csv: the manifest has no rows"),
        ("gone.parquet", "gone.parquet: no such file"),
        ("folder.parquet", "folder.parquet: is a folder; name a .csv or .parquet file"),
        ("note.txt", r"note.txt: is a file without the extension of a video \(extensions: 3gp, "),
        ("text.parquet", "text.parquet: not a table"),
        ("twice.csv", "is listed twice"),
        ("hole.csv", "row 2 has no path"),
        ("memory://nowhere-at-all", "no such folder"),
        ("nothing://x", "nothing://x: .*nothing"),
    ],
)
def test_an_invalid_source_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name, text in {
        "note.txt": "hello",
        "m.csv": "file,label\na,b\n",
        "none.csv": "path,label\n",
        "text.parquet": "hello",
        "twice.csv": "path,label\na.mp4,x\na.mp4,y\n",
        "hole.csv": "path,label\na.mp4,x\n,y\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        scan(source)


def test_an_unlistable_folder_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "open/a.mp4", "shut/b.mp4")
    real_scandir = os.scandir

    def scandir(folder: str):
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied", folder)
        return real_scandir(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    video, folder = scan(str(tmp_path))
    assert (Path(video.path).name, video.fault) == ("a.mp4", None)
    assert (folder.path, folder.fault) == (
        f"{tmp_path}/shut",
        "cannot be listed: Permission denied",
    )
