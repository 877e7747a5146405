"""Which share of the CPU time that it asks for this process gets, by Linux's scheduler statistics.

A thread that could run but waits because other threads occupy the CPUs is on a run queue. Linux
counts its time there. Time spent sleeping, such as waiting for clips, is not counted.
"""

from pathlib import Path

THREADS = Path("/proc/self/task")
MIN_ASKED_SECONDS = 2.0
"""CPU time that the threads must have asked for before their share is reported."""

MIN_SHARE = 0.6
"""The smallest share that is not worth a message.

One busy process per CPU beside a training leaves it 0.5. The trials of a search that had a machine
of 2 cores to itself got 0.72 to 0.75 (2026-12-01); the driver and Ray's own processes got the rest.
"""


class CpuMeter:
    """Measures the share of the CPU time asked for that this process got, interval by interval.

    Args:
        threads: folder with a `schedstat` file per thread; without it, the share is unknown.
    """

    def __init__(self, threads: Path = THREADS) -> None:
        self._threads = threads
        self._since = _read_times(threads)

    def share(self) -> float | None:
        """Return time run / (time run + time on a run queue) of all threads, in [0, 1].

        The interval begins at the last call that returned a number. The result is None if the
        threads have asked for less than `MIN_ASKED_SECONDS` of CPU time since then, or if the
        operating system does not tell.
        """
        now = _read_times(self._threads)
        before = {thread: self._since.get(thread, (0, 0)) for thread in now}
        # A negative difference: the system gave the number of an ended thread to a new one.
        ran = sum(max(0, now[thread][0] - before[thread][0]) for thread in now)
        waited = sum(max(0, now[thread][1] - before[thread][1]) for thread in now)
        if ran + waited < MIN_ASKED_SECONDS * 1e9:
            return None
        self._since = now
        return ran / (ran + waited)


def _read_times(threads: Path) -> dict[str, tuple[int, int]]:
    """Return {thread: (nanoseconds run, nanoseconds on a run queue)}; empty if not known."""
    times = {}
    for file in threads.glob("*/schedstat"):
        try:
            ran, waited, *_ = file.read_text(encoding="ascii").split()
        except (OSError, ValueError):  # the thread has ended
            continue
        times[file.parent.name] = int(ran), int(waited)
    return times


def describe_starvation(name: str, cpu_share: float | None, cpus: float = 1.0) -> str | None:
    """Return a sentence about a training that gets clearly too little CPU time; otherwise None.

    Args:
        name: of the training, as the subject of the sentence.
        cpu_share: share of the CPU time asked for that it got, or None if unknown.
        cpus: CPUs assigned to it; with less than one, it is expected to get no more than that.
    """
    if cpu_share is None or cpu_share >= MIN_SHARE * min(1.0, cpus):
        return None
    return (
        f"{name} gets {100 * cpu_share:.0f} % of the CPU time that it asks for, because other "
        "processes on its machine are busy; see docs/cluster.md, A machine shared with others"
    )
