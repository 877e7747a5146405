"""`make bench`: every row of docs/performance.md, measured anew, in one table.

    python benchmarks/bench.py [--out DIR] [--rows KEY ...] [--write]

Each row is measured in a process of its own: a ratio to something known, taken within one run,
both sides in turn (machines are noisy, and drift), the median of at least seven. What was measured
stands in `benchmarks/results/performance.json`; `--write` puts the table into docs/performance.md.
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

from perf import ALL
from perf.place import Place
from perf.row import Measured, Row

RESULTS = Path(__file__).with_name("results") / "performance.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- table: written by `make bench` -->", "<!-- end of the table -->"
LIMIT_SECONDS = 600
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measure_apart(row: Row, place: Place) -> dict[str, Any]:
    """Measure a row in a process of its own; what it says of a failure is kept as `error`."""
    words = [sys.executable, __file__, "--out", str(place.folder), "--only", row.key]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            words,
            env=os.environ | ONE_THREAD,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {LIMIT_SECONDS} s", "took": LIMIT_SECONDS}
    took = round(time.monotonic() - begin, 1)
    if done.returncode:
        return {"error": f"exit code {done.returncode}\n{done.stderr[-2000:]}", "took": took}
    return {**json.loads(done.stdout.splitlines()[-1]), "took": took}


def table(rows: Sequence[Row], results: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows that have been measured, as Markdown."""
    lines = [
        "| what | measured against | target | measured | quartiles | verdict | behind it |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        result = results.get(row.key)
        if result is None:
            continue
        sign = "≤" if row.better == "low" else "≥"
        head = f"| {row.what} | {row.against} | {sign} {row.target:g}{row.unit} "
        if "error" in result:
            lines.append(f"{head}| - | - | **failed** | {result['error'].splitlines()[-1]} |")
            continue
        measured = Measured(result["values"], result["told"])
        met = "met" if row.is_met(measured) else "**missed**"
        spread = "-"
        if len(measured.values) > 1:
            low, _, high = statistics.quantiles(measured.values, n=4, method="inclusive")
            spread = f"{low:.3g} to {high:.3g}"
        lines.append(
            f"{head}| {measured.median:.3g}{row.unit} | {spread} | {met} | {measured.told} |"
        )
    return "\n".join(lines) + "\n"


def write_page(text: str) -> None:
    """Put the table into the page, between its two marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def read_results() -> dict[str, dict[str, Any]]:
    """What was measured last, by row."""
    if not RESULTS.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Measure, print, write; 1 if a row failed to be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("/tmp/evossl-bench"))
    parser.add_argument("--rows", nargs="+", choices=[row.key for row in ALL], help="these alone")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # in this process, as JSON
    options = parser.parse_args()
    place = Place(options.out.resolve())
    if options.only:
        (row,) = (row for row in ALL if row.key == options.only)
        print(json.dumps(asdict(row.measure(place))))
        return 0
    begin = time.monotonic()
    place.prepare()
    chosen = [row for row in ALL if options.rows is None or row.key in options.rows]
    results = read_results()
    for number, row in enumerate(chosen, start=1):
        print(f"{number}/{len(chosen)} {row.key}", end=" ", flush=True, file=sys.stderr)
        results[row.key] = measure_apart(row, place)
        print(f"{results[row.key]['took']:.0f} s", file=sys.stderr)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = table(ALL, results)
    print(text)
    print(f"{time.monotonic() - begin:.0f} s in all", file=sys.stderr)
    if options.write:
        write_page(text)
    return int(any("error" in results[row.key] for row in chosen))


if __name__ == "__main__":
    sys.exit(main())
