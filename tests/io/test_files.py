"""Atomic writes, also on full disks (both simulated and real)."""

import errno
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evossl.errors import RunError
from evossl.io.files import write_atomically, write_json


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_folder(value: float, size: int = 4) -> Callable[[Path], None]:
    def write(temporary: Path) -> None:
        temporary.mkdir()
        save_file({"x": torch.full((size,), value)}, temporary / "model.safetensors")
        (temporary / "state.json").write_text(json.dumps(value), encoding="utf-8")

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB; the test is skipped if none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_file_or_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", {"x": 1})
    write_json(tmp_path / "deep" / "a.json", {"x": 2})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"x": 2}
    for value in (1.0, 2.0):
        write_atomically(tmp_path / "deep" / "c", write_folder(value))
    assert load_file(tmp_path / "deep" / "c" / "model.safetensors")["x"].tolist() == [2.0] * 4
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.json", "c"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_and_keeps_the_old_file(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def halfway(temporary: Path) -> None:
        temporary.write_text("{", encoding="utf-8")
        raise OSError(number, os.strerror(number))

    before = everything(tmp_path)
    with pytest.raises(RunError, match=r"a\.json: the disk is full"):
        write_atomically(path, halfway)
    assert everything(tmp_path) == before


def test_files_are_synced_before_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    write_json(tmp_path / "a.json", 1)
    write_atomically(tmp_path / "c", write_folder(1.0))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert synced == {path.stat().st_ino for path in files}


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600)])
def test_files_are_readable_to_all_readers_of_the_folder(
    tmp_path: Path, folder: int, file: int
) -> None:
    """safetensors makes files readable only to their owner."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(folder)

    def write(temporary: Path) -> None:
        temporary.mkdir()
        save_file({"x": torch.zeros(1)}, temporary / "model.safetensors")

    write_atomically(tmp_path / "run" / "encoder", write)
    mode = (tmp_path / "run" / "encoder" / "model.safetensors").stat().st_mode
    assert mode & 0o777 == file


def test_concurrent_writes_of_one_file_do_not_mix(tmp_path: Path) -> None:
    def slowly(temporary: Path) -> None:
        temporary.write_text("outer", encoding="utf-8")
        write_json(tmp_path / "a.json", "inner")

    write_atomically(tmp_path / "a.json", slowly)
    assert everything(tmp_path) == {"a.json": b"outer"}


def test_an_interruption_leaves_only_the_old_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "c", write_folder(1.0))
    before = everything(tmp_path)

    def stopped(temporary: Path) -> None:
        temporary.mkdir()
        (temporary / "x").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "c", stopped)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (OSError(errno.EIO, "Input/output error"), RunError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failed_replacement_restores_the_old_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    raised: type[BaseException],
) -> None:
    write_atomically(tmp_path / "c", write_folder(1.0))
    before = everything(tmp_path)
    plain = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise fault
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(raised, match=r"Input/output error|^$"):
        write_atomically(tmp_path / "c", write_folder(2.0))
    assert everything(tmp_path) == before


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_on_a_really_full_disk_the_old_checkpoint_is_whole(small_disk: Path) -> None:
    """safetensors reports a full disk as an error of its own, not as an OSError."""
    folder = small_disk / "checkpoint"
    write_atomically(folder, write_folder(1.0))
    before = everything(small_disk)
    with pytest.raises(RunError, match="checkpoint: the disk is full"):
        write_atomically(folder, write_folder(2.0, size=200_000))
    assert everything(small_disk) == before
    write_atomically(folder, write_folder(3.0))


def test_on_a_really_full_disk_the_old_json_is_whole(small_disk: Path) -> None:
    write_json(small_disk / "a.json", {"x": 1})
    before = everything(small_disk)
    with pytest.raises(RunError, match=r"a\.json: the disk is full"):
        write_json(small_disk / "a.json", "x" * 1_000_000)
    assert everything(small_disk) == before


def test_a_file_above_the_size_limit_keeps_the_old_one(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    before = everything(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(RunError, match=r"a\.json: cannot be written: File too large"):
            write_json(tmp_path / "a.json", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(tmp_path) == before
