"""`make bench`: measures every row of docs/performance.md again and prints one table.

    python benchmarks/performance.py [--out DIR] [--rows KEY ...] [--write]

It takes about 20 minutes on 2 cores (19 minutes from an empty folder, docs/performance.md).

Each row runs in a process of its own. It is a ratio to something known, measured within one run:
both sides take turns, because machines are noisy and drift, and the median of at least seven
repeats counts. The measurements are stored in `benchmarks/results/performance.json`; `--write` also
writes the table into docs/performance.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perf import ALL_ROWS
from perf.bench_folder import BenchFolder
from perf.measurement import Measurement, Row

RESULTS_FILE = Path(__file__).with_name("results") / "performance.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN_MARK, END_MARK = "<!-- table: written by `make bench` -->", "<!-- end of the table -->"
MAX_SECONDS = 600  # per row
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measure_in_process(row: Row, folder: BenchFolder) -> dict[str, Any]:
    """Measure a row in a new process; return its result, or its failure under the key `error`."""
    words = [sys.executable, __file__, "--out", str(folder.folder), "--only", row.key]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            words,
            env=os.environ | ONE_THREAD,
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not finished within {MAX_SECONDS} s", "took": MAX_SECONDS}
    took = round(time.monotonic() - begin, 1)
    if done.returncode:
        return {"error": f"exit code {done.returncode}\n{done.stderr[-2000:]}", "took": took}
    return {**json.loads(done.stdout.splitlines()[-1]), "took": took}


def table(rows: Sequence[Row], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rows that have been measured, as Markdown."""
    lines = [
        "| what | reference | target | measured | quartiles | verdict | details |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [table_line(row, results[row.key]) for row in rows if row.key in results]
    return "\n".join(lines) + "\n"


def table_line(row: Row, result: Mapping[str, Any]) -> str:
    """Return one line of the table."""
    sign = "≤" if row.better == "low" else "≥"
    head = f"| {row.what} | {row.reference} | {sign} {row.target:g}{row.unit} "
    if "error" in result:
        return f"{head}| - | - | **failed** | {result['error'].splitlines()[-1]} |"
    measurement = Measurement(result["values"], result["details"])
    verdict = "met" if row.is_met(measurement) else "**missed**"
    quartiles = "-"
    if len(measurement.values) > 1:
        low, _, high = statistics.quantiles(measurement.values, n=4, method="inclusive")
        quartiles = f"{low:.3g} to {high:.3g}"
    median = f"{measurement.median:.3g}{row.unit}"
    return f"{head}| {median} | {quartiles} | {verdict} | {measurement.details} |"


def write_page(text: str) -> None:
    """Replace the table of the page, between its two marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN_MARK)
    _, _, after = rest.partition(END_MARK)
    PAGE.write_text(f"{before}{BEGIN_MARK}\n\n{text}\n{END_MARK}{after}", encoding="utf-8")


def read_results() -> dict[str, dict[str, Any]]:
    """Return the last result of each row."""
    if not RESULTS_FILE.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(RESULTS_FILE.read_text(encoding="utf-8"))
    return found


def measure_rows(rows: Sequence[Row], folder: BenchFolder) -> dict[str, dict[str, Any]]:
    """Measure the rows, store each result as it comes, and return the results of all rows."""
    results = read_results()
    for number, row in enumerate(rows, start=1):
        print(f"{number}/{len(rows)} {row.key}", end=" ", flush=True, file=sys.stderr)
        results[row.key] = measure_in_process(row, folder)
        print(f"{results[row.key]['took']:.0f} s", file=sys.stderr)
        RESULTS_FILE.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def main() -> int:
    """Measure, print and store the rows; return 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("/tmp/evossl-bench"))
    keys = [row.key for row in ALL_ROWS]
    parser.add_argument("--rows", nargs="+", choices=keys, help="measure only these rows")
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/performance.md"
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)  # measure here and print JSON
    options = parser.parse_args()
    folder = BenchFolder(options.out.resolve())
    if options.only:
        (row,) = (row for row in ALL_ROWS if row.key == options.only)
        print(json.dumps(asdict(row.measure(folder))))
        return 0
    begin = time.monotonic()
    folder.prepare()
    chosen = [row for row in ALL_ROWS if options.rows is None or row.key in options.rows]
    results = measure_rows(chosen, folder)
    text = table(ALL_ROWS, results)
    print(text)
    print(f"{time.monotonic() - begin:.0f} s in total", file=sys.stderr)
    if options.write:
        write_page(text)
    return int(any("error" in results[row.key] for row in chosen))


if __name__ == "__main__":
    sys.exit(main())
