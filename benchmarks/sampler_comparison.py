"""Simulated searches: what each sampler finds, by the number of trials that run in parallel.

    python benchmarks/sampler_comparison.py [--weights 30] [--trials 800] [--seeds 5]

The fitness is a rotated quadratic with noise, and the durations of the trials are log-normal.

Shapes: D weight.
"""

import argparse
import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evossl.config import Sampler
from evossl.search.completed_trials import CompletedTrials
from evossl.search.genotype import Genotype
from evossl.search.samplers import make_proposer

Vector = NDArray[np.float64]
SAMPLERS = ("cmaes", "ga", "random", "tpe", "nsga2")


@dataclass(frozen=True)
class Quadratic:
    """f(w) = |A^(1/2) R (w - w*)|^2 with a random rotation R and a diagonal A of condition 100."""

    scale_D: Vector
    rotation_DD: Vector
    optimum_D: Vector
    noise_sd: float

    @classmethod
    def draw(
        cls, num_weights: int, seed: int, noise_sd: float = 0.3, zeros: float = 0.0
    ) -> "Quadratic":
        """Return a problem; a fraction `zeros` of the best weights is 0, on the border."""
        rng = np.random.default_rng([seed, num_weights])
        rotation_DD, _ = np.linalg.qr(rng.normal(size=(num_weights, num_weights)))
        optimum_D = rng.uniform(0.1, 0.9, num_weights)
        optimum_D[: round(zeros * num_weights)] = 0.0
        return cls(np.geomspace(1.0, 100.0, num_weights), rotation_DD, optimum_D, noise_sd)

    def true_value(self, weights_D: Vector) -> float:
        """Return f(w) without noise; it is 0 at the optimum."""
        return float(self.scale_D @ (self.rotation_DD @ (weights_D - self.optimum_D)) ** 2)


@dataclass(frozen=True)
class Outcome:
    """The true value of the trial with the best noisy score, and when the last trial ended."""

    best_value: float
    weights_D: Vector
    makespan: float


def simulate(
    sampler: Sampler, problem: Quadratic, seed: int, num_trials: int, num_workers: int
) -> Outcome:
    """Run a search in simulated time, with `num_workers` trials in parallel."""
    num_weights = len(problem.optimum_D)
    bounds = {f"task{i:02d}.rgb": (0.0, 1.0) for i in range(num_weights)}
    propose, completed = make_proposer(sampler, seed, Genotype(bounds, {})), CompletedTrials(bounds)
    rng = np.random.default_rng([seed, 1])
    in_flight: list[tuple[float, int, dict[str, float]]] = []
    best, number, now = (np.inf, np.empty(0)), 0, 0.0
    while number < num_trials or in_flight:
        while number < num_trials and len(in_flight) < num_workers:
            proposed = propose(completed.study(), number) if number else dict.fromkeys(bounds, 0.5)
            weights = {name: float(value) for name, value in proposed.items()}
            heapq.heappush(in_flight, (now + rng.lognormal(0.0, 0.5), number, weights))
            number += 1
        now, _, weights = heapq.heappop(in_flight)
        weights_D = np.array(list(weights.values()))
        score = problem.true_value(weights_D) + problem.noise_sd * rng.normal()
        completed.add(weights, "complete", score)
        if score < best[0]:
            best = (score, weights_D)
    return Outcome(problem.true_value(best[1]), best[1], now)


def main() -> None:
    """Print the result of every sampler."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=int, default=30)
    parser.add_argument("--trials", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    parser.add_argument(
        "--zeros", type=float, default=0.0, help="fraction of best weights that are 0"
    )
    args = parser.parse_args()
    print(f"{args.weights} weights, {args.trials} trials, median of {args.seeds} seeds")
    for name in args.samplers:
        for num_workers in args.workers:
            outcomes = [
                simulate(
                    Sampler(name=name),
                    Quadratic.draw(args.weights, seed, zeros=args.zeros),
                    seed,
                    args.trials,
                    num_workers,
                )
                for seed in range(args.seeds)
            ]
            value = np.median([outcome.best_value for outcome in outcomes])
            span = np.median([outcome.makespan for outcome in outcomes])
            print(f"{name:8} {num_workers:4} workers  best {value:8.3f}  time {span:8.1f}")


if __name__ == "__main__":
    main()
