"""A folder with the task `moody`, whose trials fail, hang or kill their worker on demand."""

from collections.abc import Callable
from pathlib import Path

MoodyTasks = Callable[[str], Path]
SOURCE = Path(__file__).parent / "moody_task.txt"


def write_moody_task(folder: Path, moods: str) -> Path:
    """Write the task and the moods of its trials, in turn; return the folder."""
    folder.mkdir()
    (folder / "moody.py").write_text(SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "moods").write_text(moods, encoding="utf-8")
    return folder


def read_moody_log(folder: Path) -> list[tuple[str, str]]:
    """Return (process, mood) of each training that has begun."""
    lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    return [(process, mood) for process, mood in map(str.split, lines)]
