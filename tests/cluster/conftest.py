"""One local Ray for all tests of a session, and a task that misbehaves on demand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evossl.cluster.session import Session, ray_session
from tests.helpers.moody_tasks import MoodyTasks, write_moody_task


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    with ray_session(None, dashboard=False) as connected:
        yield connected


@pytest.fixture
def moody_tasks(tmp_path: Path) -> MoodyTasks:
    """Make a folder with the task `moody`, whose trials take the given moods in turn."""
    return lambda moods: write_moody_task(tmp_path / "tasks", moods)
