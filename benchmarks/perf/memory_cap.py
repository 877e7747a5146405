"""Caps this process's memory with a control group, including the file pages that it reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")  # version 2, version 1


@contextmanager
def cap_memory(num_bytes: int) -> Iterator[bool]:
    """Move this process into a group of its own with that limit; yield False if not permitted."""
    parent = next((group for group in _current_groups() if _join_child(group, num_bytes)), None)
    try:
        yield parent is not None
    finally:
        if parent is not None:
            (parent / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            _child_of(parent).rmdir()


def _child_of(group: Path) -> Path:
    return group / f"evossl-bench-{os.getpid()}"


def _join_child(parent: Path, num_bytes: int) -> bool:
    """Create a limited group in `parent` and move there; return whether that was possible."""
    group = _child_of(parent)
    try:
        group.mkdir()
        limit = next(group / name for name in LIMIT_FILES if (group / name).exists())
        limit.write_text(str(num_bytes), encoding="ascii")
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except (OSError, StopIteration):
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _current_groups() -> list[Path]:
    """Return this process's groups: of the memory controller (version 1), and of version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append(CGROUP_ROOT / "memory" / path.strip("/"))
        elif not controllers:
            found.append(CGROUP_ROOT / path.strip("/"))
    return found
