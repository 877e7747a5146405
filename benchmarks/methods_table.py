"""docs/methods.md from the results of benchmarks/methods.py and of the tests.

python benchmarks/methods_table.py TESTS.xml > docs/methods.md
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
from first_light_table import interval
from methods import FACTORS, read
from methods_jobs import MATCHINGS, REAL_STEPS, RHOS, TIMES, places_of
from methods_text import AT_LENGTH, COLOURLESS, FALL, HEAD, INVESTIGATED, LEARNING, RHO, SVT
from numpy.typing import NDArray

from evossl.task_loader import load_catalogue

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

RESAMPLES = 2000
PROTOCOLS = {"knn": "kNN", "linear": "linear"}
APPEARANCE, WITHOUT = "appearance", " without colour"
WORD = re.compile(r"[a-z_]+")


@dataclass
class Tests:
    """What the tests of one method came to."""

    oracle: int = 0
    properties: int = 0
    failed: list[str] = field(default_factory=list)
    rankme: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Gain:
    """How much better than before its training an encoder is, in balanced accuracy."""

    before: float
    after: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0

    def __str__(self) -> str:
        text = f"{self.before:.3f} → {self.after:.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"**{text}**" if self.is_clear else text


Gains = Mapping[tuple[str, str], Gain]
"""By factor and protocol."""


def read_tests(file: Path, methods: Sequence[str]) -> dict[str, Tests]:
    """What a junit file says of each method, by the names of test files and of cases."""
    found = {method: Tests() for method in methods}
    for case in ET.parse(file).getroot().iter("testcase"):
        module, name = case.get("classname", ""), case.get("name", "")
        of_file = module.rpartition("test_")[2] if ".oracles." in f".{module}." else ""
        of_case = WORD.match(name.partition("[")[2])
        method = of_file or (of_case.group() if of_case else "")
        if method not in found or case.find("skipped") is not None:
            continue
        tests = found[method]
        if case.find("failure") is not None or case.find("error") is not None:
            tests.failed.append(name)
        elif of_file:
            tests.oracle += 1
        else:
            tests.properties += 1
        for item in case.iter("property"):
            if item.get("name") in ("rankme", "floor"):
                setattr(tests, str(item.get("name")), float(str(item.get("value"))))
    return found


def when(file: Path) -> str:
    """The day of a junit file."""
    suite = next(ET.parse(file).getroot().iter("testsuite"))
    return suite.get("timestamp", "").partition("T")[0]


def balanced(classes: str, hits: str, weight_RN: Floats) -> Floats:
    """Mean over classes of their recall, for each row of weights (how often a video counts)."""
    class_N, hit_N = (np.array([*digits], dtype=int) for digits in (classes, hits))
    of_class_NC = np.eye(class_N.max() + 1)[class_N]
    total_RC = weight_RN @ of_class_NC
    right_RC = (weight_RN * hit_N) @ of_class_NC
    recall_RC = np.divide(
        right_RC, total_RC, out=np.full_like(right_RC, np.nan), where=total_RC > 0
    )
    return np.asarray(np.nanmean(recall_RC, axis=1))


def graded(row: Row, factor: str) -> Mapping[str, str]:
    """What a row says of a factor; of one `WITHOUT` colour, on clips of luma alone."""
    hits = row["hits"]
    name = factor.removesuffix(WITHOUT)
    judged = hits if name == factor else hits["colourless"]
    return cast(Mapping[str, str], judged[name])


def accuracy(row: Row, factor: str, protocol: str) -> float:
    """Balanced accuracy of one encoder."""
    hits = graded(row, factor)
    return float(balanced(hits["class"], hits[protocol], np.ones((1, len(hits["class"]))))[0])


def gain(rows: Sequence[Row], factor: str, protocol: str) -> Gain:
    """The gain over seeds, its 95 % interval by resampling seeds, and in each its videos."""
    rng = np.random.default_rng(0)
    untrained = read("untrained")
    starts = [{"hits": untrained["untrained", row["seed"]]} for row in rows]
    draws = []
    for row, start in zip(rows, starts, strict=True):
        was, now = (graded(of, factor) for of in (start, row))
        num = len(was["class"])
        weight_RN = rng.multinomial(num, np.full(num, 1 / num), size=RESAMPLES * len(rows))
        change_R = balanced(now["class"], now[protocol], weight_RN.astype(float))
        change_R -= balanced(was["class"], was[protocol], weight_RN.astype(float))
        draws.append(change_R.reshape(RESAMPLES, len(rows)))
    change_SRJ = np.stack(draws)
    seed_RJ = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
    picked_RJ = change_SRJ[seed_RJ, np.arange(RESAMPLES)[:, None], np.arange(len(rows))[None]]
    low, high = np.quantile(picked_RJ.mean(axis=1), [0.025, 0.975])
    before, after = (fmean(accuracy(r, factor, protocol) for r in of) for of in (starts, rows))
    return Gain(before, after, float(low), float(high))


def fall(row: Row, term: str) -> float:
    """Share of its size by which a loss fell, from ten early steps to the last ten.

    Of the larger size of both: SimSiam's begins near zero and ends at -1.
    """
    early, late = row["loss"][term]
    return float((early - late) / max(abs(early), abs(late), 1e-12))


def falls(method: str, real: Mapping[tuple[str, int | None], Row]) -> str:
    """By how much each loss of a method fell on real clips; in bold where it was too little."""
    told = []
    for place in places_of(method):
        row = real.get((f"{method} {place}", None))
        if row is None or row["fitness"] is None:
            told.append(f"**{place}: {row['reason'] if row else 'not run'}**")
            continue
        longer = f" in {row['steps']}" if row["steps"] != REAL_STEPS else ""
        for term in row["loss"]:
            share = fall(row, term)
            text = f"{term.partition('.')[2]} {share:.0%}{longer}"
            told.append(text if share >= FALL else f"**{text}**")
    return ", ".join(told)


def factors_of(method: str) -> list[str]:
    """What the method's docstring says that it should learn."""
    task = load_catalogue()[method]
    *_, last = (sys.modules[task.__module__].__doc__ or "").splitlines()
    return [factor for factor in FACTORS if factor in last]


def gains_of(rows: Sequence[Row]) -> Gains:
    """The gain on each factor, by each protocol."""
    without = "colourless" in rows[0]["hits"]
    factors = [*FACTORS, APPEARANCE + WITHOUT] if without else FACTORS
    return {(f, p): gain(rows, f, p) for f in factors for p in PROTOCOLS}


def learnt_factors(method: str, gains: Gains) -> list[str]:
    """What of that which it should learn it does, by which protocol."""
    return [
        f"{factor}, {PROTOCOLS[p]}"
        for (factor, p), gained in gains.items()
        if factor.removesuffix(WITHOUT) in factors_of(method) and gained.is_clear
    ]


def proofs_table(
    tests: Mapping[str, Tests], gains: Mapping[str, Gains], longer: Mapping[str, Gains]
) -> list[str]:
    """A row a method: its four proofs."""
    real = read("real")
    lines = ["| method | 1 oracle | 2 property | 3 real video: the loss falls by | 4 it learns |"]
    lines += ["|---|---|---|---|---|"]
    for method, of_method in gains.items():
        mine = tests[method]
        ranks = f"; RankMe {mine.rankme:.1f}, floor {mine.floor:.1f}" if mine.floor else ""
        broken = f"; FAILED: {', '.join(mine.failed)}" if mine.failed else ""
        best = "; ".join(learnt_factors(method, of_method))
        later = learnt_factors(method, longer.get(method, {}))
        if not best and later:
            best = f"at {TIMES} times the compute: {'; '.join(later)}"
        lines.append(
            f"| `{method}` | {mine.oracle} tests | {mine.properties} tests{ranks}{broken} | "
            f"{falls(method, real)} | {best or '**no**'} |"
        )
    return lines


def learning_table(learnt: Mapping[str, Sequence[Row]], gains: Mapping[str, Gains]) -> list[str]:
    """A row a method: before and after, for each factor and protocol."""
    heads = [f"{factor}, {p}" for factor in FACTORS for p in PROTOCOLS.values()]
    lines = [f"| method | should learn | seeds | steps | seconds | {' | '.join(heads)} |"]
    lines.append("|---" * (5 + len(heads)) + "|")
    for method, rows in learnt.items():
        cells = [str(gains[method][factor, p]) for factor in FACTORS for p in PROTOCOLS]
        seconds = fmean(row["seconds"] for row in rows)
        told = f"{', '.join(factors_of(method))} | {len(rows)} | {rows[0]['steps']} | {seconds:.0f}"
        lines.append(f"| `{method}` | {told} | {' | '.join(cells)} |")
    return lines


def colourless_table(gains: Mapping[str, Gains]) -> list[str]:
    """A row a method that hides colours: appearance before and after, on clips of luma alone."""
    factor = APPEARANCE + WITHOUT
    lines = [f"| method | {' | '.join(f'{factor}, {p}' for p in PROTOCOLS.values())} |"]
    lines.append("|---" * (1 + len(PROTOCOLS)) + "|")
    for method, of_method in gains.items():
        if (factor, "knn") in of_method:
            cells = [str(of_method[factor, p]) for p in PROTOCOLS]
            lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return lines


def over_seeds(part: str) -> dict[str, list[Row]]:
    """A part's trainings by row."""
    named: dict[str, list[Row]] = {}
    for (name, _), row in sorted(read(part).items()):
        named.setdefault(name, []).append(row)
    return named


def small_table(rows: Mapping[str, Sequence[Row]], head: str) -> list[str]:
    """A row a setting: accuracy on motion, of three seeds."""
    lines = [f"| {head} | motion, kNN | motion, linear | passes a step |", "|---|---|---|---|"]
    untrained = [{"hits": hits, "passes": 0.0} for hits in read("untrained").values()]
    for name, seeds in {"untrained": untrained, **rows}.items():
        cells = [interval([accuracy(r, "motion", p) for r in seeds]) for p in PROTOCOLS]
        lines.append(f"| {name} | {' | '.join(cells)} | {seeds[0]['passes']:.1f} |")
    return lines


def mean_accuracy(rows: Sequence[Row]) -> float:
    """Over seeds, on motion, linear."""
    return fmean(accuracy(row, "motion", "linear") for row in rows)


def rho_verdict(rows: Mapping[str, Sequence[Row]]) -> str:
    """In which methods more clips were better, as published."""
    told = []
    for task in dict.fromkeys(name.rpartition("-")[0] for name in rows):
        means = [mean_accuracy(rows[f"{task}-{rho}"]) for rho in RHOS]
        word = "does not, but 4 are best" if max(means) == means[-1] else "does not"
        told.append(f"`{task}` {'agrees' if means == sorted(means) else word}")
    return f"Does the order of the linear means agree with it? {', '.join(told)}."


def svt_verdict(rows: Mapping[str, Sequence[Row]]) -> str:
    """Where the published best row stands."""
    best = MATCHINGS.index(("l->g", "g->g"))
    means = [mean_accuracy(rows[str(row)]) for row in range(len(MATCHINGS))]
    place = sorted(means, reverse=True).index(means[best]) + 1
    told = [f"The published best is number {place} of {len(means)} here"]
    for added in ("l->l", "g->l"):
        change = means[MATCHINGS.index((*MATCHINGS[best], added))] - means[best]
        told.append(f"`{added}` added to it makes {change:+.3f}")
    agrees = "agrees" if place == 1 else "does not agree"
    untrained = mean_accuracy([{"hits": hits} for hits in read("untrained").values()])
    passed = sum(mean > untrained for mean in means)
    said = f"{', '.join(told)}: the order {agrees}."
    if passed < len(means) / 2:
        said += f" {passed} of {len(means)} rows pass the untrained encoder: it says little."
    return said


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=Path, help="junit file")
    file = parser.parse_args().tests
    learnt = over_seeds("learn")
    gains = {method: gains_of(rows) for method, rows in learnt.items()}
    print(HEAD)
    print(f"The tests ran on {when(file)}; CI leaves out those of 100 steps, which are slow.\n")
    at_length = over_seeds("longer")
    longer = {method: gains_of(rows) for method, rows in at_length.items()}
    print("\n".join(proofs_table(read_tests(file, list(gains)), gains, longer)))
    print(LEARNING)
    print("\n".join(learning_table(learnt, gains)))
    print(COLOURLESS)
    print("\n".join(colourless_table(gains)))
    print(AT_LENGTH)
    print("\n".join(learning_table(at_length, longer)))
    print(INVESTIGATED)
    print(RHO)
    rho = over_seeds("rho")
    print("\n".join(small_table(rho, "method, rho")), rho_verdict(rho), sep="\n\n")
    print(SVT)
    svt = over_seeds("svt")
    named = {", ".join(f"`{m}`" for m in MATCHINGS[int(row)]): svt[row] for row in sorted(svt)}
    print("\n".join(small_table(named, "matchings")), svt_verdict(svt), sep="\n\n")


if __name__ == "__main__":
    main()
