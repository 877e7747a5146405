"""How many workers can a search use? A discrete-event simulation with measured constants.

    python benchmarks/simulate_cluster.py             # 1 to 4,096 workers, 10,000 trials
    python benchmarks/simulate_cluster.py --check     # also compares it with a real Ray

The simulation takes 10 seconds. `--check` runs small searches with 2 and 4 workers on this
machine, which takes minutes more.

One driver serves events in order: a free worker needs a trial (report the last one, ask for the
next), or a trial logs a step. A new worker first imports its modules, and its node fills the cache
from object storage, whose bandwidth all nodes share. The lengths of trials are log-normal, and a
few stragglers take longer. Some workers die, and their trials start again. With a barrier, the
search runs in synchronous generations of as many trials as there are workers.
"""

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perf.bench_folder import BenchFolder
from real_search import (
    CHECKED_WORKERS,
    FREQUENT_LOGGING,
    NUM_STEPS,
    NUM_TRIALS,
    RARE_LOGGING,
    RealSearch,
    search,
)

WORKER_COUNTS = [2**power for power in range(13)]
HEAD = (
    "| workers | hours | busy | busy with barriers | driver | start | cache fill | waiting | died "
    "| end | first bottleneck |"
)
CHECK_HEAD = "| workers | real | simulated | busy, real | busy, simulated |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Constants:
    """Properties of the machines; docs/performance.md says how the defaults were measured.

    Attributes:
        tell_and_ask: seconds of the driver from the end of a trial to the next, including Tune.
        report: seconds of the driver per logged step.
        reports: logged steps per trial.
        trial: median seconds of a trial.
        spread: standard deviation of the logarithm of a trial's length.
        straggler_fraction: fraction of trials that take `straggler_factor` times as long.
        straggler_factor: see `straggler_fraction`.
        death_fraction: fraction of trials whose worker dies, on average half-way through.
        start: seconds until a worker's process has started.
        warm: seconds until a trial starts in a worker that has run one before.
        per_node: workers that share a node and its cache.
        cache_gb: data that a node fetches before its first trial.
        node_gbps: bandwidth of a node, GB per second.
        storage_gbps: bandwidth of the object storage for all nodes together.
    """

    tell_and_ask: float = 0.037
    report: float = 0.002
    reports: int = 20
    trial: float = 600.0
    spread: float = 0.4
    straggler_fraction: float = 0.02
    straggler_factor: float = 4.0
    death_fraction: float = 0.005
    start: float = 8.0
    warm: float = 0.15
    per_node: int = 8
    cache_gb: float = 500.0
    node_gbps: float = 1.0
    storage_gbps: float = 40.0


@dataclass(frozen=True)
class TimeShares:
    """How the workers and the driver spend their time, as fractions of it.

    Attributes:
        hours: length of the search.
        busy: the workers are in trials that finish.
        starting: their processes start.
        filling: they wait for the cache to be filled.
        waiting: they wait for the driver.
        lost: they are in trials whose worker dies.
        tail: they are idle at the end, when no trial is left.
        driver: the driver is busy.
    """

    hours: float
    busy: float
    starting: float
    filling: float
    waiting: float
    lost: float
    tail: float
    driver: float

    @property
    def bottleneck(self) -> str:
        """The largest fraction of the workers' time that is not busy."""
        idle = {
            "worker start": self.starting,
            "cache fill": self.filling,
            "driver": self.waiting,
            "dead workers": self.lost,
            "end of the search": self.tail,
        }
        return max(idle, key=lambda name: idle[name])


class Simulation:
    """A simulated search.

    Args:
        constants: properties of the machines.
        workers: number of workers.
        lengths: seconds of each trial.
        seed: of the deaths of workers.
        barrier: a generation of as many trials as workers ends before the next starts.
    """

    def __init__(
        self,
        constants: Constants,
        workers: int,
        lengths: Sequence[float],
        seed: int = 0,
        *,
        barrier: bool = False,
    ) -> None:
        self.constants = constants
        self.workers = workers
        self.lengths = lengths
        self.barrier = barrier
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, str, int]] = []
        self._count = 0
        self._driver_free = 0.0
        self._driver_spent = 0.0

    def run(self) -> TimeShares:
        """Run the simulation until the last trial has ended."""
        c = self.constants
        nodes = -(-self.workers // c.per_node)
        fill = c.cache_gb / min(c.node_gbps, c.storage_gbps / nodes)
        spent = dict.fromkeys(("busy", "waiting", "lost"), 0.0)
        num_started = 0
        waiting_since: dict[int, float] = {}
        last_end = dict.fromkeys(range(self.workers), c.start + fill)
        for worker in range(self.workers):
            self._push(c.start + fill, "free", worker)
        finish = 0.0
        ready: list[int] = []
        while self._events:
            now, _, what, worker = heapq.heappop(self._events)
            if what == "report":
                self._serve(now, c.report)
                continue
            if what == "end":
                last_end[worker] = finish = now
            if num_started == len(self.lengths):
                continue
            waiting_since[worker] = now
            ready.append(worker)
            if self.barrier and len(ready) < self.workers:
                continue
            for next_worker in ready:
                if num_started == len(self.lengths):
                    break
                began = self._serve(now, c.tell_and_ask) + c.warm
                spent["waiting"] += began - waiting_since[next_worker]
                lost = self._lost(self.lengths[num_started])
                spent["lost"] += lost
                spent["busy"] += self.lengths[num_started]
                self._train(next_worker, began + lost, self.lengths[num_started])
                num_started += 1
            ready = []
        total = self.workers * finish
        tail = sum(finish - end for end in last_end.values())
        return TimeShares(
            hours=finish / 3600,
            busy=spent["busy"] / total,
            starting=c.start * self.workers / total,
            filling=fill * self.workers / total,
            waiting=spent["waiting"] / total,
            lost=spent["lost"] / total,
            tail=tail / total,
            driver=self._driver_spent / finish,
        )

    def _train(self, worker: int, began: float, length: float) -> None:
        for number in range(1, self.constants.reports):
            self._push(began + length * number / self.constants.reports, "report", worker)
        self._push(began + length, "end", worker)

    def _lost(self, length: float) -> float:
        c = self.constants
        if self._rng.random() >= c.death_fraction:
            return 0.0
        return self._rng.random() * length + c.start

    def _serve(self, now: float, seconds: float) -> float:
        """Let the driver serve an event; return when it is done."""
        self._driver_free = max(self._driver_free, now) + seconds
        self._driver_spent += seconds
        return self._driver_free

    def _push(self, when: float, what: str, worker: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what, worker))


def draw_lengths(constants: Constants, num: int, seed: int = 0) -> list[float]:
    """Return the seconds of each trial."""
    rng = random.Random(seed)
    c = constants
    return [
        c.trial
        * rng.lognormvariate(0.0, c.spread)
        * (c.straggler_factor if rng.random() < c.straggler_fraction else 1.0)
        for _ in range(num)
    ]


def table(constants: Constants, num_trials: int) -> str:
    """Return a Markdown table with a row for each number of workers."""
    lines = [HEAD, "|" + "---|" * 11]
    lengths = draw_lengths(constants, num_trials)
    for workers in WORKER_COUNTS:
        asynchronous = Simulation(constants, workers, lengths).run()
        synchronous = Simulation(constants, workers, lengths, barrier=True).run()
        shares = (
            asynchronous.starting,
            asynchronous.filling,
            asynchronous.waiting,
            asynchronous.lost,
            asynchronous.tail,
        )
        cells = [
            f"{asynchronous.hours:.1f}",
            *(f"{share:.1%}" for share in (asynchronous.busy, synchronous.busy)),
            *(f"{share:.1%}" for share in (asynchronous.driver, *shares)),
            asynchronous.bottleneck,
        ]
        lines.append(f"| {workers} | {' | '.join(cells)} |")
    return "\n".join(lines)


def check(real: RealSearch, workers: int, base: RealSearch) -> str:
    """Return a table row of a real search next to its simulation.

    The constants of the simulation come from `base`, a search with fewer workers. All workers share
    the cores of this machine: with twice as many workers, each takes twice as long.
    """
    slower = workers / CHECKED_WORKERS[0]
    constants = Constants(start=base.start * slower, warm=0.0, cache_gb=0.0, death_fraction=0.0)
    simulated = Simulation(constants, workers, [slower * took for took in base.trials]).run()
    busy = sum(real.trials) / (workers * real.took)
    return (
        f"| {workers} | {real.took:.0f} s | {simulated.hours * 3600:.0f} s | {busy:.1%} "
        f"| {simulated.busy:.1%} |"
    )


def driver_constants(rarely: RealSearch, often: RealSearch) -> str:
    """Return the driver's time per trial and per report, from two searches.

    The time per trial is an upper bound: with so few trials, it includes much of the start-up.
    """
    few, many = (NUM_STEPS // log_every + 1 for log_every in (RARE_LOGGING, FREQUENT_LOGGING))
    report = max(0.0, often.driver - rarely.driver) / (NUM_TRIALS * (many - few))
    trial = rarely.driver / NUM_TRIALS - few * report
    driver = f"tell_and_ask <= {trial:.3f} s, report {report:.4f} s"
    return f"measured: {driver}; start {often.start:.1f} s with {CHECKED_WORKERS[0]} workers"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--check", action="store_true", help="compare with real searches on this machine"
    )
    parser.add_argument("--out", type=Path, default=Path("/tmp/evossl-bench"))
    parser.add_argument(
        "--constants", default="{}", help="JSON that replaces defaults of Constants"
    )
    options = parser.parse_args()
    constants = Constants(**json.loads(options.constants))
    print(f"{constants}\n\n{table(constants, options.trials)}")
    if options.check:
        print(f"\n{CHECK_HEAD}")
        bench = BenchFolder(options.out.resolve())
        often = {workers: search(bench, workers, FREQUENT_LOGGING) for workers in CHECKED_WORKERS}
        base = often[CHECKED_WORKERS[0]]
        for workers, real in often.items():
            print(check(real, workers, base))
        print(driver_constants(search(bench, CHECKED_WORKERS[0], RARE_LOGGING), base))


if __name__ == "__main__":
    main()
