"""A small search of `everything.yaml`: all methods in minutes on a CPU.

    python benchmarks/search_everything.py --data VIDEOS --out /tmp/everything [--mixtures]

The space is `everything.yaml` with the encoder, clip, cache and fitness of `tiny.yaml`. It is
written next to the run and searched with the command line, as a user would do it. The script prints
the trials, and fails if a trial failed. With `--mixtures` there are no single-task trials: every
trial mixes all tasks.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from evossl.io.spaces import shipped_spaces
from evossl.io.yaml_file import dump_yaml, parse_yaml

TINY_KEYS = ("backbone", "clip", "cache", "fitness")  # the keys that decide what a step costs
NUM_TRIALS, NUM_STEPS = 6, 20


def small_space(*, mixtures: bool = False) -> dict[str, object]:
    """Return `everything.yaml` at the size of `tiny.yaml`, without a GPU.

    Args:
        mixtures: leave out the single-task trials.
    """
    everything, tiny = (
        parse_yaml(shipped_spaces()[name].read_text(encoding="utf-8"), name)
        for name in ("everything", "tiny")
    )
    del everything["resources"]
    if mixtures:
        everything["sampler"] |= {"single_tasks_first": False}
    return {**everything, **{key: tiny[key] for key in TINY_KEYS}}


def search(data: str, out: Path, space: Path) -> None:
    """Search with the command line."""
    words = ["search", "--data", data, "--space", space, "--out", out, "--trials", NUM_TRIALS]
    words += ["--steps", NUM_STEPS, "--final-steps", NUM_STEPS]
    evossl = Path(sys.executable).with_name("evossl")
    subprocess.run([str(evossl), *map(str, words)], check=True)


def print_trials(run: Path) -> int:
    """Print the controls and trials of a run; return how many trials failed."""
    num_failed = 0
    for row in pq.read_table(run / "trials.parquet").to_pylist():
        fitness = "-" if row["fitness"] is None else f"{row['fitness']:.3f}"
        terms = sum(bool(row[name]) for name in row if name.startswith("weight."))
        print(f"{row['trial']:>3} {row['name']:24} {row['status']:9} {fitness:>8} {terms:>4} terms")
        num_failed += row["status"] == "failed"
    return num_failed


def main() -> int:
    """Write the space, search it, and print the trials."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of videos")
    parser.add_argument("--out", type=Path, required=True, help="folder for the space and the run")
    parser.add_argument("--mixtures", action="store_true", help="no single-task trials")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    space = options.out / "everything-small.yaml"
    space.write_text(dump_yaml(small_space(mixtures=options.mixtures)), encoding="utf-8")
    search(options.data, options.out / "run", space)
    return print_trials(options.out / "run")


if __name__ == "__main__":
    sys.exit(main())
