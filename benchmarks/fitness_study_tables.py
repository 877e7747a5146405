"""The tables of fitness_study_analysis.py, as Markdown."""

import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial

import fitness_study_analysis as analysis
import numpy as np
from fitness_study_analysis import CANDIDATES, FAMILIES, FULL_STEPS, LENGTHS, interval
from fitness_study_scores import Row

CHANCE_SDS = 3
TARGETS = ("motion", "appearance", "label")


def all_tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield every table that the rows allow."""
    for name in ("motion", "words", "surveillance"):
        chosen = [row for row in rows if row["data"].rsplit("-", 1)[0] == name]
        if not any(map(analysis.is_trained, chosen)):
            continue
        yield overview(name, chosen)
        if name == "motion":
            yield lengths_table(chosen)
            yield picks_table(chosen)
        yield from candidate_tables(name, chosen)
    yield recognition_table(rows)


def overview(name: str, rows: Sequence[Row]) -> str:
    """Return the accuracies and main scores of each weighting at its last step."""
    targets = [target for target in TARGETS if any(target in row for row in rows)]
    columns = ("minus_fitness", "ami_views", "ami_gaussian", "ami_disjoint", "predict_fixed_flow")
    last = max(row["step"] for row in rows)
    lines = [f"Encoders of {name} after {last} steps, mean over seeds"]
    lines += _head(["weighting", "seeds", *targets, *columns])
    for weighting in sorted({row["weighting"] for row in rows}):
        own = [r for r in rows if r["weighting"] == weighting and r["step"] in (0, last)]
        cells = [weighting, str(len(own)), *(_mean(own, column) for column in (*targets, *columns))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def lengths_table(rows: Sequence[Row]) -> str:
    """Return table (a): the correlation of the fitness at a length with the final accuracy."""
    lines = ["Fitness after a number of steps, and accuracy after 1,000 (motion)"]
    lines += _head(
        ["steps", "trainings", "kNN and linear", "kNN", "linear", "AMI at chance", "no fitness"]
    )
    for step in LENGTHS:
        pairs = paired_with_final(rows, step)
        cells = [f"{step}", f"{len(pairs)}"]
        targets = ("final_motion", "final_motion_knn", "final_motion_linear")
        cells += [interval(pairs, analysis.spearman_of("early", target)) for target in targets]
        chance = [is_at_chance(row) for row in pairs]
        failed = [math.isinf(row["early"]) for row in pairs]
        cells += [f"{np.mean(part):.0%}" if part else "-" for part in (chance, failed)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def paired_with_final(rows: Sequence[Row], step: int) -> list[Row]:
    """Return the trained encoders at a step, with their accuracies after the last step."""
    final = {(r["data"], r["weighting"]): r for r in rows if r["step"] == LENGTHS[-1]}
    found = []
    for row in rows:
        end = final.get((row["data"], row["weighting"]))
        if row["step"] == step and end is not None and "motion" in end:
            targets = {f"final_{k}": v for k, v in end.items() if k.startswith("motion")}
            found.append(row | targets | {"early": analysis.value(row, "minus_fitness")})
    return found


def is_at_chance(row: Row) -> bool:
    """Say whether the AMI is below the mean plus 3 sd of permuted clips."""
    if "ami_permuted_sd" not in row or "ami_views" not in row:
        return True
    limit = row["ami_permuted_mean"] + CHANCE_SDS * row["ami_permuted_sd"]
    return bool(row["ami_views"] < limit)


def picks_table(rows: Sequence[Row]) -> str:
    """Return what the best fitness at each length picks: its final rank and accuracy."""
    seeds = sorted({row["data"] for row in rows})
    lines = ["The training that each length would pick: final motion accuracy (rank of all)"]
    lines += _head(["steps", *seeds])
    for step in LENGTHS:
        cells = [f"{step}"]
        for seed in seeds:
            pairs = [r for r in paired_with_final(rows, step) if r["data"] == seed]
            if not pairs:
                cells.append("-")
                continue
            pick = max(pairs, key=lambda row: row["early"])
            accuracy = [row["final_motion"] for row in pairs]
            rank = 1 + sum(a > pick["final_motion"] for a in accuracy)
            cells.append(
                f"{pick['weighting']}: {pick['final_motion']:.3f} ({rank} of {len(pairs)}; best "
                f"{max(accuracy):.3f}, mean {statistics.fmean(accuracy):.3f})"
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def candidate_tables(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield table (b) for each label: the correlation of each candidate with the accuracy."""
    trained = [r for r in rows if analysis.is_trained(r) and r["step"] in FULL_STEPS]
    for target in TARGETS:
        chosen = [row for row in trained if target in row and "ami_disjoint" in row]
        if len(chosen) < analysis.MIN_ENCODERS:
            continue
        lines = [f"Scores and {target} accuracy on {name}: {len(chosen)} encoders"]
        biased = [f"bias to {family}" for family in FAMILIES]
        lines += _head(
            ["score", "all", "gain", "within families", "partial", *biased, "below random init"]
        )
        for score, label in CANDIDATES.items():
            own = [row for row in chosen if score in row]
            if not own:
                continue
            statistics_of = (
                analysis.spearman_of,
                analysis.gain_over_default,
                analysis.within_families,
                analysis.partial_of,
            )
            cells = [label, *(interval(own, make(score, target)) for make in statistics_of)]
            for family in FAMILIES:
                bias = partial(analysis.bias_of, score, target)
                found = analysis.over_strata(own, bias(family))
                cells.append(f"{found:+.2f}" if math.isfinite(found) else "-")
            cells.append(f"{below_random_init(rows, own, score):.0%}")
            lines.append(f"| {' | '.join(cells)} |")
        yield "\n".join(lines)


def below_random_init(rows: Sequence[Row], chosen: Sequence[Row], score: str) -> float:
    """Return the share of trained encoders that score below the best random init of their seed."""
    best: dict[str, float] = {}
    for row in rows:
        if not analysis.is_trained(row):
            found = analysis.value(row, score)
            best[row["data"]] = max(found, best.get(row["data"], -math.inf))
    beaten = [analysis.value(row, score) < best.get(row["data"], -math.inf) for row in chosen]
    return statistics.fmean(beaten)


def recognition_table(rows: Sequence[Row]) -> str:
    """Return AMI beside that of the Gaussian twin for each data set, trained or not."""
    lines = ["AMI of two views and of their Gaussian twin, at the last step with all views"]
    lines += _head(
        ["data", "weighting", "fitness", "AMI", "twin", "AMI - twin", "disjoint", "its twin", "MRR"]
    )
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        last = max(r["step"] for r in rows if r["data"] == row["data"])
        if "ami_gaussian" in row and row["step"] in (0, last):
            weighting = "random_init" if not analysis.is_trained(row) else row["weighting"]
            kinds.setdefault((row["data"].rsplit("-", 1)[0], weighting), []).append(row)
    columns = ("fitness", "ami_views", "ami_gaussian", "beyond_gaussian", "ami_disjoint")
    for (data, weighting), own in sorted(kinds.items()):
        names = (*columns, "ami_disjoint_gaussian", "mrr")
        cells = [data, f"{weighting} ({len(own)})", *(_mean(own, column) for column in names)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(rows: Sequence[Row], name: str) -> str:
    found = [row[name] for row in rows if row.get(name) is not None and math.isfinite(row[name])]
    return f"{statistics.fmean(found):.3f}" if found else "-"


def _head(names: Sequence[str]) -> list[str]:
    return ["", f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
