"""A cap on this process's memory, the pages of files that it reads included: a control group."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory.limit_in_bytes")  # version 2, version 1


@contextmanager
def memory_capped(num_bytes: int) -> Iterator[bool]:
    """Have this process in a group of its own with that limit; False where one may not."""
    own = next((group for group in _own_groups() if _joined(group, num_bytes)), None)
    try:
        yield own is not None
    finally:
        if own is not None:
            (own / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            _beneath(own).rmdir()


def _beneath(group: Path) -> Path:
    return group / f"evossl-bench-{os.getpid()}"


def _joined(parent: Path, num_bytes: int) -> bool:
    """Make a group beneath this one and move there."""
    group = _beneath(parent)
    try:
        group.mkdir()
        limit = next(group / name for name in LIMITS if (group / name).exists())
        limit.write_text(str(num_bytes), encoding="ascii")
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except (OSError, StopIteration):
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _own_groups() -> list[Path]:
    """The groups that this process is in: of the memory controller, and of version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append(ROOT / "memory" / place.strip("/"))
        elif not controllers:
            found.append(ROOT / place.strip("/"))
    return found
