"""Where does a search stop to scale? A discrete-event simulation, fed with measured constants.

    python benchmarks/simulate_cluster.py             # 1 to 4,096 workers, 10,000 trials
    python benchmarks/simulate_cluster.py --check     # and a real Ray of 2 and 4 workers beside it

One driver serves events in the order in which they come: a worker that is free and wants a trial
(tell the last one, ask for the next), and every logged step of every trial. A worker that starts
for the first time imports, and its node fills the cache from object storage, whose bandwidth all
nodes share. Trials last log-normally long, some stragglers longer; some workers die, and their
trial begins anew. `barrier` is the same search in generations of as many trials as workers.
"""

import argparse
import heapq
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perf.place import Place

from evossl.cluster.run import run_trials
from evossl.cluster.session import ray_session
from evossl.config import Resources, Sampler
from evossl.experiment.trial import TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.study import Study

WORKERS = [2**power for power in range(13)]
CHECKED = (2, 4)
REAL_TRIALS, REAL_STEPS = 24, 40
RARELY, OFTEN = 40, 2  # steps between two that are logged; the first is logged too
HEAD = (
    "| workers | hours | busy | with barriers | driver | start | cache fill | waiting | died | end "
    "| first bottleneck |"
)
CHECK_HEAD = "| workers | real | simulated | busy, real | busy, simulated |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Constants:
    """Seconds and shares; those of this machine are measured (docs/performance.md says how).

    Attributes:
        tell_and_ask: of the driver for a trial that ends and the next that begins, Tune included.
        report: of the driver for a logged step.
        reports: logged steps a trial.
        trial: median of a trial's length. spread: sd of its logarithm.
        straggling: share of trials that take `straggle` times as long.
        dying: share of trials whose worker dies, half-way on average, and that begin anew.
        start: of a worker's process. warm: of a trial in a worker that has had one before.
        per_node: workers that share a node and its cache.
        cache_gb: what a node fetches before its first trial. node_gbps: at most, in GB a second.
        storage_gbps: of the object storage, for all nodes together.
    """

    tell_and_ask: float = 0.037
    report: float = 0.002
    reports: int = 20
    trial: float = 600.0
    spread: float = 0.4
    straggling: float = 0.02
    straggle: float = 4.0
    dying: float = 0.005
    start: float = 8.0
    warm: float = 0.15
    per_node: int = 8
    cache_gb: float = 500.0
    node_gbps: float = 1.0
    storage_gbps: float = 40.0


@dataclass(frozen=True)
class Shares:
    """What became of the workers' time, and how busy the driver was.

    Attributes:
        hours: from the first start to the last end.
        busy: of the workers' time, in trials that count.
        starting, filling, waiting, lost, tail: of the workers' time, before the first trial, for
            the cache, for the driver, in trials that died, and idle since the last trial was given.
        driver: of the driver's time.
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
        """The largest of what is not busy."""
        idle = {
            "worker start": self.starting,
            "cache fill": self.filling,
            "driver": self.waiting,
            "dead workers": self.lost,
            "end of the search": self.tail,
        }
        return max(idle, key=lambda name: idle[name])


class Simulation:
    """A search of so many trials on so many workers.

    Args:
        constants: of the machines.
        workers: alike.
        lengths: seconds of each trial.
        seed: of deaths.
        barrier: a generation of as many trials as workers ends before the next begins.
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

    def run(self) -> Shares:
        """Simulate until the last trial has ended."""
        c = self.constants
        nodes = -(-self.workers // c.per_node)
        fill = c.cache_gb / min(c.node_gbps, c.storage_gbps / nodes)
        spent = dict.fromkeys(("busy", "waiting", "lost"), 0.0)
        given = 0
        waiting_since: dict[int, float] = {}
        last_end = dict.fromkeys(range(self.workers), c.start + fill)
        for worker in range(self.workers):
            self._push(c.start + fill, "free", worker)
        finish = 0.0
        held: list[int] = []
        while self._events:
            now, _, what, worker = heapq.heappop(self._events)
            if what == "report":
                self._serve(now, c.report)
                continue
            if what == "end":
                last_end[worker] = finish = now
            if given == len(self.lengths):
                continue
            waiting_since[worker] = now
            held.append(worker)
            if self.barrier and len(held) < self.workers:
                continue
            for next_worker in held:
                if given == len(self.lengths):
                    break
                began = self._serve(now, c.tell_and_ask) + c.warm
                spent["waiting"] += began - waiting_since[next_worker]
                lost = self._lost(self.lengths[given])
                spent["lost"] += lost
                spent["busy"] += self.lengths[given]
                self._train(next_worker, began + lost, self.lengths[given])
                given += 1
            held = []
        total = self.workers * finish
        tail = sum(finish - end for end in last_end.values())
        return Shares(
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
        if self._rng.random() >= c.dying:
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
    """Seconds of each trial."""
    rng = random.Random(seed)
    c = constants
    return [
        c.trial
        * rng.lognormvariate(0.0, c.spread)
        * (c.straggle if rng.random() < c.straggling else 1.0)
        for _ in range(num)
    ]


def table(constants: Constants, num_trials: int) -> str:
    """A row for each number of workers, as Markdown."""
    lines = [HEAD, "|" + "---|" * 11]
    lengths = draw_lengths(constants, num_trials)
    for workers in WORKERS:
        free = Simulation(constants, workers, lengths).run()
        strict = Simulation(constants, workers, lengths, barrier=True).run()
        shares = (free.starting, free.filling, free.waiting, free.lost, free.tail)
        lines.append(
            f"| {workers} | {free.hours:.1f} | {free.busy:.1%} | {strict.busy:.1%} "
            f"| {free.driver:.1%} | {' | '.join(f'{share:.1%}' for share in shares)} "
            f"| {free.bottleneck} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Real:
    """A search that was run on this machine.

    Attributes:
        took: seconds. start: until the first logged step: Tune and the workers' processes.
        trials: seconds of each. driver: its processor's seconds.
    """

    took: float
    start: float
    trials: list[float]
    driver: float


def search(place: Place, workers: int, log_every: int) -> Real:
    """A real search of small trials."""
    place.prepare()
    run = place.run(place.demo_space("simclr", "arrow_of_time"), f"check-{workers}")
    genotype = Genotype(dict.fromkeys(sorted(run.scales), (0.0, 1.0)), {})
    resources = Resources(cpus=CHECKED[0] / workers, max_concurrent=workers)
    marks: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Study.create(Path(folder), genotype, Sampler(name="random"), 0) as study,
        ray_session(None, dashboard=False) as session,
    ):
        run = replace(run, folder=folder)
        template = TrialSpec(0, {}, run, REAL_STEPS, log_every=log_every)
        began, spent = time.monotonic(), time.process_time()
        run_trials(
            study,
            template,
            REAL_TRIALS,
            session,
            resources,
            on_steps=lambda *_: marks.append(time.monotonic()),
        )
        took, driver = time.monotonic() - began, time.process_time() - spent
        seconds = [row.seconds or 0.0 for row in study.rows()]
    return Real(took, marks[0] - began, seconds, driver)


def check(real: Real, workers: int, base: Real) -> str:
    """A real search, and its simulation out of what `base`, one of fewer workers, took.

    All workers share these cores: of twice as many, each takes twice as long for the same.
    """
    slower = workers / CHECKED[0]
    constants = Constants(start=base.start * slower, warm=0.0, cache_gb=0.0, dying=0.0)
    simulated = Simulation(constants, workers, [slower * took for took in base.trials]).run()
    busy = sum(real.trials) / (workers * real.took)
    return (
        f"| {workers} | {real.took:.0f} s | {simulated.hours * 3600:.0f} s | {busy:.1%} "
        f"| {simulated.busy:.1%} |"
    )


def measure(rarely: Real, often: Real) -> str:
    """The driver's constants: what a trial costs it, and a report, from two searches.

    Its start-up is in what a trial costs: an upper bound, over so few trials.
    """
    few, many = (REAL_STEPS // log_every + 1 for log_every in (RARELY, OFTEN))
    report = max(0.0, often.driver - rarely.driver) / (REAL_TRIALS * (many - few))
    trial = rarely.driver / REAL_TRIALS - few * report
    driver = f"tell_and_ask <= {trial:.3f} s, report {report:.4f} s"
    return f"measured: {driver}; start {often.start:.1f} s with {CHECKED[0]} workers"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--check", action="store_true", help="beside real runs on this machine")
    parser.add_argument("--out", type=Path, default=Path("/tmp/evossl-bench"))
    parser.add_argument("--constants", default="{}", help="as JSON, in place of the defaults")
    options = parser.parse_args()
    constants = Constants(**json.loads(options.constants))
    print(f"{constants}\n\n{table(constants, options.trials)}")
    if options.check:
        print(f"\n{CHECK_HEAD}")
        place = Place(options.out.resolve())
        often = {workers: search(place, workers, OFTEN) for workers in CHECKED}
        base = often[CHECKED[0]]
        for workers, real in often.items():
            print(check(real, workers, base))
        print(measure(search(place, CHECKED[0], RARELY), base))


if __name__ == "__main__":
    main()
