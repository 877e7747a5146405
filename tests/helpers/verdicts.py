"""Verdicts with a given outcome, for tests that score nothing."""

from evossl.experiment.verdict import Evidence, Verdict, VerdictScore, decide_verdict

EVIDENCE = Evidence(num_clips=400, num_videos=1600, num_compared=12, steps=300)


def verdict_of(fitness: float) -> Verdict:
    """Return the verdict on an encoder whose random inits have 6.0 to 6.8 nats.

    It is better at 4 nats, and not better from 6.4 on.
    """
    inits = [
        VerdictScore(f"random init {i}", 6.0 + 0.05 * i, kind="random_init") for i in range(17)
    ]
    grid = VerdictScore("colour grid", 9.0, kind="colour_grid")
    equal = VerdictScore("equal weights", 5.9)
    return decide_verdict(VerdictScore("trial 2", fitness), [*inits, grid], EVIDENCE, equal)
