"""One local Ray for all tests of a session, and a task that fails on demand."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evossl.cluster.session import Session, ray_session


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    with ray_session(None, dashboard=False) as connected:
        yield connected


@pytest.fixture
def moody_tasks(tmp_path: Path) -> Callable[[str], Path]:
    """Make a folder with the task `moody`, whose trials take the given moods in turn."""

    def make(moods: str) -> Path:
        folder = tmp_path / "tasks"
        folder.mkdir()
        source = Path(__file__).parent.parent / "helpers/moody_task.txt"
        (folder / "moody.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "moods").write_text(moods, encoding="utf-8")
        return folder

    return make
