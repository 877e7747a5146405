"""The training history: truncation on resume, and full disks."""

import errno
import json
from pathlib import Path

import pytest

from evossl.errors import RunError
from evossl.training import history
from evossl.training.history import StepReport


def written(path: Path, steps: range) -> Path:
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in steps), encoding="utf-8")
    return path


def steps_of(path: Path) -> list[int]:
    return [line["step"] for line in history.read_history(path)]


def test_truncate_drops_later_and_incomplete_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "history.jsonl", range(1, 6))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "tot')
    history.truncate(path, 3)
    assert steps_of(path) == [1, 2, 3]
    assert path.read_text(encoding="utf-8").endswith('{"step": 3}\n')
    history.truncate(tmp_path / "none.jsonl", 3)
    assert [file.name for file in tmp_path.iterdir()] == ["history.jsonl"]


def test_a_full_disk_leaves_the_history_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "history.jsonl", range(1, 6))

    def half(self: Path, text: str, encoding: str) -> int:
        self.write_bytes(text.encode(encoding)[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(RunError, match=r"history\.jsonl: the disk is full"):
        history.truncate(path, 4)
    assert steps_of(path) == [1, 2, 3, 4, 5]
    assert [file.name for file in tmp_path.iterdir()] == ["history.jsonl"]


def test_a_line_that_does_not_fit_is_reported_as_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    report = StepReport(1, 1.0, 0.1, 1.0, 1.0, 1.0, 0.0, {}, {}, {})
    with pytest.raises(RunError, match=r"history\.jsonl: the disk is full"):
        history.append(tmp_path / "history.jsonl", report)
