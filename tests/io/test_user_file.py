"""A user's own file is loaded once, and its errors are reported without a traceback."""

from pathlib import Path

import pytest

from evossl.errors import UserError
from evossl.io.user_file import load_python_file
from evossl.task_loader import load_catalogue

TASK = """\
from evossl.types import Stream
from evossl.task import Task, each


class Mine(Task):
    places = each(Stream.RGB)
"""


def test_the_catalogue_has_the_same_classes_for_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text(TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    whole, near = load_catalogue(tmp_path / "mine"), load_catalogue(Path("mine"))
    assert near == whole
    assert whole.keys() - load_catalogue().keys() == {"mine"}
    assert load_catalogue(None) == load_catalogue()
    assert all(whole[name] is task for name, task in load_catalogue().items())


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x = '\0'"])
def test_a_binary_python_file_is_refused_by_its_name(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "binary.py"
    file.write_bytes(text)
    with pytest.raises(UserError, match=r"binary\.py: cannot be loaded: "):
        load_python_file(file, "evossl_tasks.binary")
