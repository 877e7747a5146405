"""Every method at once, small: a search of `everything.yaml` that a CPU can do in minutes.

    python benchmarks/everything.py --data VIDEOS --out /tmp/everything

The space is `everything.yaml` with the encoder, clip, cache and fitness of `tiny.yaml`, written
beside the run and searched by the command line, as a user would. It prints the trials, fails where
one failed. With `--mixtures` no task is tried alone: every trial mixes them all.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from evossl.io.spaces import shipped_spaces
from evossl.io.yaml_file import dump_yaml, parse_yaml

TINY = ("backbone", "clip", "cache", "fitness")  # the keys that decide what a step costs
TRIALS, STEPS = 6, 20


def small_space(*, mixtures: bool = False) -> dict[str, object]:
    """`everything.yaml` as read, at the size of `tiny.yaml`, with no GPU asked for.

    Args:
        mixtures: leave out the trials of one task each.
    """
    everything, tiny = (
        parse_yaml(shipped_spaces()[name].read_text(encoding="utf-8"), name)
        for name in ("everything", "tiny")
    )
    del everything["resources"]
    if mixtures:
        everything["sampler"] |= {"single_tasks_first": False}
    return {**everything, **{key: tiny[key] for key in TINY}}


def search(data: str, out: Path, space: Path) -> None:
    """Search with the command line."""
    words = ["search", "--data", data, "--space", space, "--out", out, "--trials", TRIALS]
    words += ["--steps", STEPS, "--final-steps", STEPS]
    evossl = Path(sys.executable).with_name("evossl")
    subprocess.run([str(evossl), *map(str, words)], check=True)


def print_trials(run: Path) -> int:
    """Print the controls and trials of a run; return how many trials failed."""
    failed = 0
    for row in pq.read_table(run / "trials.parquet").to_pylist():
        fitness = "-" if row["fitness"] is None else f"{row['fitness']:.3f}"
        terms = sum(bool(row[name]) for name in row if name.startswith("weight."))
        print(f"{row['trial']:>3} {row['name']:24} {row['status']:9} {fitness:>8} {terms:>4} terms")
        failed += row["status"] == "failed"
    return failed


def main() -> int:
    """Write the space, search, print the trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mixtures", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    space = options.out / "everything-small.yaml"
    space.write_text(dump_yaml(small_space(mixtures=options.mixtures)), encoding="utf-8")
    search(options.data, options.out / "run", space)
    return print_trials(options.out / "run")


if __name__ == "__main__":
    sys.exit(main())
