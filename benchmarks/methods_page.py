"""Prints docs/methods.md from the results of train_methods.py and of the tests.

python benchmarks/methods_page.py TESTS.xml > docs/methods.md
"""

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
from evolved_vs_baselines_table import interval
from method_jobs import MATCHINGS, REAL_STEPS, RHOS, TIMES, places_of, task_of
from method_test_counts import TestCounts, date_of, read_tests
from methods_page_text import (
    AT_LENGTH,
    COLOURLESS,
    FALL,
    HEAD,
    LEARNING,
    MEASURED,
    PROOFS,
    RHO,
    SVT,
)
from numpy.typing import NDArray
from train_methods import FACTORS, read_results

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

NUM_RESAMPLES = 2000
WIDTH = 100
PROTOCOLS = {"knn": "kNN", "linear": "linear"}
APPEARANCE, WITHOUT_COLOUR = "appearance", " without colour"


@dataclass(frozen=True)
class Gain:
    """Balanced accuracy before and after training, and the interval of the difference."""

    before: float
    after: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0

    def __str__(self) -> str:
        text = f"{self.before:.3f} → {self.after:.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"**{text}**" if self.is_clear else text


Gains = Mapping[tuple[str, str], Gain]
"""Gains by (factor, protocol)."""


def balanced_accuracies(classes: str, hits: str, weight_RN: Floats) -> Floats:
    """Return the mean recall of the classes, for each row of weights of the videos."""
    class_N, hit_N = (np.array([*digits], dtype=int) for digits in (classes, hits))
    of_class_NC = np.eye(class_N.max() + 1)[class_N]
    total_RC = weight_RN @ of_class_NC
    right_RC = (weight_RN * hit_N) @ of_class_NC
    recall_RC = np.divide(
        right_RC, total_RC, out=np.full_like(right_RC, np.nan), where=total_RC > 0
    )
    return np.asarray(np.nanmean(recall_RC, axis=1))


def hits_of(row: Row, factor: str) -> Mapping[str, str]:
    """Return the hits of a row on a factor, which may end in `WITHOUT_COLOUR`."""
    hits = row["hits"]
    name = factor.removesuffix(WITHOUT_COLOUR)
    found = hits if name == factor else hits["colourless"]
    return cast(Mapping[str, str], found[name])


def accuracy(row: Row, factor: str, protocol: str) -> float:
    """Return the balanced accuracy of one encoder."""
    hits = hits_of(row, factor)
    one_1N = np.ones((1, len(hits["class"])))
    return float(balanced_accuracies(hits["class"], hits[protocol], one_1N)[0])


def gain(rows: Sequence[Row], factor: str, protocol: str) -> Gain:
    """Return the mean gain over seeds; its 95 % interval resamples seeds, and videos in each."""
    rng = np.random.default_rng(0)
    untrained = read_results("untrained")
    starts = [{"hits": untrained["untrained", row["seed"]]} for row in rows]
    draws = []
    for row, start in zip(rows, starts, strict=True):
        was, now = (hits_of(of, factor) for of in (start, row))
        num = len(was["class"])
        weight_RN = rng.multinomial(num, np.full(num, 1 / num), size=NUM_RESAMPLES * len(rows))
        change_R = balanced_accuracies(now["class"], now[protocol], weight_RN.astype(float))
        change_R -= balanced_accuracies(was["class"], was[protocol], weight_RN.astype(float))
        draws.append(change_R.reshape(NUM_RESAMPLES, len(rows)))
    change_SRJ = np.stack(draws)
    seed_RJ = rng.integers(len(rows), size=(NUM_RESAMPLES, len(rows)))
    picked_RJ = change_SRJ[seed_RJ, np.arange(NUM_RESAMPLES)[:, None], np.arange(len(rows))[None]]
    low, high = np.quantile(picked_RJ.mean(axis=1), [0.025, 0.975])
    before, after = (fmean(accuracy(r, factor, protocol) for r in of) for of in (starts, rows))
    return Gain(before, after, float(low), float(high))


def fall(row: Row, term: str) -> float:
    """Return the fraction of its size by which a loss fell, from early to late steps.

    The size is the larger absolute value, because SimSiam's loss starts near 0 and ends at -1.
    """
    early, late = row["loss"][term]
    return float((early - late) / max(abs(early), abs(late), 1e-12))


def falls(method: str, real: Mapping[tuple[str, int | None], Row]) -> str:
    """Return by how much each loss of a method fell on real clips, in bold if too little."""
    cells = []
    for place in places_of(method):
        row = real.get((f"{method} {place}", None))
        if row is None or row["fitness"] is None:
            cells.append(f"**{place}: {row['reason'] if row else 'not run'}**")
            continue
        longer = f" in {row['steps']}" if row["steps"] != REAL_STEPS else ""
        for term in row["loss"]:
            share = fall(row, term)
            text = f"{term.partition('.')[2]} {share:.0%}{longer}"
            cells.append(text if share >= FALL else f"**{text}**")
    return ", ".join(cells)


def factors_of(method: str) -> list[str]:
    """Return the factors that the docstring of the method's task names."""
    task = task_of(method)
    *_, last = (sys.modules[task.__module__].__doc__ or "").splitlines()
    return [factor for factor in FACTORS if factor in last]


def gains_of(rows: Sequence[Row]) -> Gains:
    """Return the gain on each factor, under each protocol."""
    has_grayscale = "colourless" in rows[0]["hits"]
    factors = [*FACTORS, APPEARANCE + WITHOUT_COLOUR] if has_grayscale else FACTORS
    return {(f, p): gain(rows, f, p) for f in factors for p in PROTOCOLS}


def learned_factors(method: str, gains: Gains) -> list[str]:
    """Return which of the factors that it should learn a method learns, and by which protocol."""
    return [
        f"{factor}, {PROTOCOLS[p]}"
        for (factor, p), gained in gains.items()
        if factor.removesuffix(WITHOUT_COLOUR) in factors_of(method) and gained.is_clear
    ]


def conclusion(gains: Mapping[str, Gains], longer: Mapping[str, Gains]) -> str:
    """Say how many methods learn what they should, and which learn most."""
    at_once = [method for method in gains if learned_factors(method, gains[method])]
    later = [m for m in longer if m not in at_once and learned_factors(m, longer[m])]
    never = [method for method in gains if method not in (*at_once, *later)]
    sentences = [
        f"**Of {len(gains)} methods, {len(at_once)} learn what they should in a short training.**",
        f"{len(later)} need {TIMES} times the compute ({_names(later)}).",
        f"{len(never)} do not learn it in this small setting ({_names(never)}).",
    ]
    for factor in FACTORS:
        best = sorted(gains, key=lambda method: -gains[method][factor, "linear"].after)
        sentences.append(f"On {factor}, the best linear probes are those of {_names(best[:3])}.")
    return textwrap.fill(" ".join(sentences), WIDTH, break_on_hyphens=False) + "\n"


def _names(methods: Sequence[str]) -> str:
    return ", ".join(f"`{method}`" for method in methods)


def proofs_table(
    tests: Mapping[str, TestCounts], gains: Mapping[str, Gains], longer: Mapping[str, Gains]
) -> list[str]:
    """Return a table with the four proofs of each method."""
    real = read_results("real")
    lines = ["| method | 1 oracle | 2 property | 3 real video: the loss falls by | 4 it learns |"]
    lines += ["|---|---|---|---|---|"]
    for method, of_method in gains.items():
        counts = tests[method]
        ranks = f"; RankMe {counts.rankme:.1f}, floor {counts.floor:.1f}" if counts.floor else ""
        broken = f"; FAILED: {', '.join(counts.failed)}" if counts.failed else ""
        best = "; ".join(learned_factors(method, of_method))
        later = learned_factors(method, longer.get(method, {}))
        if not best and later:
            best = f"at {TIMES} times the compute: {'; '.join(later)}"
        lines.append(
            f"| `{method}` | {counts.oracle} tests | {counts.properties} tests{ranks}{broken} | "
            f"{falls(method, real)} | {best or '**no**'} |"
        )
    return lines


def learning_table(learned: Mapping[str, Sequence[Row]], gains: Mapping[str, Gains]) -> list[str]:
    """Return a table with the gain of each method on each factor."""
    heads = [f"{factor}, {p}" for factor in FACTORS for p in PROTOCOLS.values()]
    lines = [f"| method | should learn | seeds | steps | seconds | {' | '.join(heads)} |"]
    lines.append("|---" * (5 + len(heads)) + "|")
    for method, rows in learned.items():
        cells = [str(gains[method][factor, p]) for factor in FACTORS for p in PROTOCOLS]
        seconds = fmean(row["seconds"] for row in rows)
        about = (
            f"{', '.join(factors_of(method))} | {len(rows)} | {rows[0]['steps']} | {seconds:.0f}"
        )
        lines.append(f"| `{method}` | {about} | {' | '.join(cells)} |")
    return lines


def colourless_table(gains: Mapping[str, Gains]) -> list[str]:
    """Return a table of the methods that hide colours, on appearance without colour."""
    factor = APPEARANCE + WITHOUT_COLOUR
    lines = [f"| method | {' | '.join(f'{factor}, {p}' for p in PROTOCOLS.values())} |"]
    lines.append("|---" * (1 + len(PROTOCOLS)) + "|")
    for method, of_method in gains.items():
        if (factor, "knn") in of_method:
            cells = [str(of_method[factor, p]) for p in PROTOCOLS]
            lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return lines


def over_seeds(part: str) -> dict[str, list[Row]]:
    """Return the trainings of a part, by row."""
    named: dict[str, list[Row]] = {}
    for (name, _), row in sorted(read_results(part).items()):
        named.setdefault(name, []).append(row)
    return named


def small_table(rows: Mapping[str, Sequence[Row]], head: str) -> list[str]:
    """Return a table with the accuracy on motion of each setting, over seeds."""
    lines = [f"| {head} | motion, kNN | motion, linear | passes per step |", "|---|---|---|---|"]
    untrained = [{"hits": hits, "passes": 0.0} for hits in read_results("untrained").values()]
    for name, seeds in {"untrained": untrained, **rows}.items():
        cells = [interval([accuracy(r, "motion", p) for r in seeds]) for p in PROTOCOLS]
        lines.append(f"| {name} | {' | '.join(cells)} | {seeds[0]['passes']:.1f} |")
    return lines


def mean_accuracy(rows: Sequence[Row]) -> float:
    """Return the mean linear accuracy on motion over seeds."""
    return fmean(accuracy(row, "motion", "linear") for row in rows)


def rho_verdict(rows: Mapping[str, Sequence[Row]]) -> str:
    """Say for which methods more clips are better, as published."""
    lines = ["By the linear means, here:", ""]
    for task in dict.fromkeys(name.rpartition("-")[0] for name in rows):
        means = [mean_accuracy(rows[f"{task}-{rho}"]) for rho in RHOS]
        found = "4 clips are not best"
        if max(means) == means[-1]:
            found = "4 clips are best, but 2 are not better than 1"
        if means == sorted(means):
            found = "more clips are better, as published"
        lines.append(f"- `{task}`: {found}.")
    return "\n".join(lines)


def svt_verdict(rows: Mapping[str, Sequence[Row]]) -> str:
    """Say how the published best row compares with the others."""
    best = MATCHINGS.index(("l->g", "g->g"))
    means = [mean_accuracy(rows[str(row)]) for row in range(len(MATCHINGS))]
    place = sorted(means, reverse=True).index(means[best]) + 1
    lines = [f"The published best pair is number {place} of {len(means)} here."]
    for added in ("l->l", "g->l"):
        change = means[MATCHINGS.index((*MATCHINGS[best], added))] - means[best]
        lines.append(f"Adding `{added}` to it changes the linear accuracy by {change:+.3f}.")
    untrained = mean_accuracy([{"hits": hits} for hits in read_results("untrained").values()])
    passed = sum(mean > untrained for mean in means)
    lines.append(f"{passed} of {len(means)} rows are better than the untrained encoder.")
    if passed < len(means) / 2:
        lines.append("This comparison therefore says little.")
    return textwrap.fill(" ".join(lines), WIDTH, break_on_hyphens=False)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", type=Path, help="junit file")
    file = parser.parse_args().tests
    learned = over_seeds("learn")
    gains = {method: gains_of(rows) for method, rows in learned.items()}
    at_length = over_seeds("longer")
    longer = {method: gains_of(rows) for method, rows in at_length.items()}
    print(HEAD)
    print(conclusion(gains, longer), PROOFS.strip(), "", sep="\n")
    print(f"The tests ran on {date_of(file)}. CI leaves out those of 100 steps, which are slow.\n")
    print("\n".join(proofs_table(read_tests(file, list(gains)), gains, longer)))
    print(LEARNING)
    print("\n".join(learning_table(learned, gains)))
    print(COLOURLESS)
    print("\n".join(colourless_table(gains)))
    print(AT_LENGTH)
    print("\n".join(learning_table(at_length, longer)))
    print(RHO)
    rho = over_seeds("rho")
    print("\n".join(small_table(rho, "method, rho")), rho_verdict(rho), sep="\n\n")
    print(SVT)
    svt = over_seeds("svt")
    named = {", ".join(f"`{m}`" for m in MATCHINGS[int(row)]): svt[row] for row in sorted(svt)}
    print("\n".join(small_table(named, "matchings")), svt_verdict(svt), sep="\n\n")
    print(MEASURED, end="")


if __name__ == "__main__":
    main()
