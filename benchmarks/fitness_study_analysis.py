"""Tables of the fitness study: how long to train a trial, and which score ranks encoders.

    python benchmarks/fitness_study_analysis.py DIR [--rows FILE.csv] > tables.md

DIR is the folder of fitness_study.py. With --rows, the numbers of all encoders are also written
to that file; without DIR, the tables are made from the file alone.

Correlations are Spearman's, computed within each seed (and step) and averaged. Intervals are 95 %,
from a bootstrap over weightings: a weighting is drawn with the trainings of all its seeds.
"""

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fitness_study_scores import Row, collect_rows
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Statistic = Callable[[Sequence[Row]], float]

LENGTHS = (50, 100, 200, 300, 500, 700, 1000)
FULL_STEPS = (300, 1000)
NUM_BOOTSTRAPS = 500
MIN_ENCODERS = 4  # of a stratum or a family, for a correlation
FAMILIES = {
    "contrastive": ("simclr", "multimodal_contrast", "multimodal_alignment", "simsiam", "byol"),
    "predictive": ("order_binary", "arrow_of_time", "tempo"),
    "generative": (
        "reconstruction",
        "video_prediction",
        "interpolation",
        "cross_modal_transfer",
    ),
}
CONTRASTIVE_TASKS = ("simclr", "multimodal_contrast")
CANDIDATES = {
    "minus_fitness": "default fitness (sign turned)",
    "kl_hard": "Zipf KL, hard shares (sign turned)",
    "ami_views": "AMI of the fitness's views",
    "ami_and_flow": "mean of AMI and flow's clusters predicted",
    "mrr": "MRR of the fitness's views",
    "beyond_gaussian": "AMI minus AMI of the Gaussian twin",
    "beyond_gaussian_ratio": "AMI over AMI of the Gaussian twin",
    "ami_whitened": "AMI of the fitness's views, 8 whitened axes",
    "ami_disjoint": "AMI, strong views without a common frame",
    "disjoint_beyond_gaussian": "the same minus its Gaussian twin",
    "ami_colour_family": "AMI, other augmentations with colour",
    "ami_family": "AMI, other augmentations without colour",
    "ami_other_time": "AMI, weak views without a common frame",
    "ami_weak_time": "AMI, weak views at two times",
    "ami_shuffled": "AMI with shuffled frames (sign turned)",
    "cross_fixed_flow": "cross_stream, flow as it is",
    "predict_fixed_flow": "flow's clusters predicted by neighbours",
    "cross_reference_flow": "cross_stream, flow encoder of equal weights",
    "predict_reference_flow": "its clusters predicted by neighbours",
    "cross_reference_audio": "cross_stream, sound encoder of equal weights",
    "cross_fixed_motion_energy": "cross_stream, motion energy",
    "predict_fixed_motion_energy": "motion energy's clusters predicted",
    "cross_fixed_log_mel": "cross_stream, log-mel",
    "predict_fixed_log_mel": "log-mel's clusters predicted",
    "clid": "CLID",
    "cluster_learnability": "CL alone",
    "intrinsic_dimension": "ID alone",
    "nesum": "NESum",
    "rankme": "RankMe",
    "lidar": "LiDAR, 2 views, all clips",
    "lidar8": "LiDAR, 8 views, 100 clips",
}
UNSTORED = ("seconds", "has_reference")
NEGATED = ("kl_hard", "ami_shuffled")


def family_of(row: Row) -> str:
    """Return the family of a single task, or "mixture"."""
    return next((f for f, names in FAMILIES.items() if row["weighting"] in names), "mixture")


def contrastive_share(row: Row) -> float:
    """Return the share of the loss weights that belongs to contrastive tasks."""
    weights: Mapping[str, float] = row["weights"]
    chosen = sum(w for name, w in weights.items() if name.split(".")[0] in CONTRASTIVE_TASKS)
    return chosen / max(sum(weights.values()), 1e-12)


def value(row: Row, name: str) -> float:
    """Return a score so that higher should be better; a score without a value is the worst."""
    found = row.get(name)
    if found is None or math.isnan(found):
        return -math.inf
    return -found if name in NEGATED else float(found)


def ranks(rows: Sequence[Row], name: str) -> Floats:
    """Return the ranks of the encoders by a score, from 1 for the worst, centred."""
    found: Floats = rankdata([value(row, name) for row in rows])
    found -= found.mean()
    return found


def correlation(a_N: Floats, b_N: Floats) -> float:
    """Return the correlation of centred numbers; NaN if one is constant."""
    scale = math.sqrt(float((a_N @ a_N) * (b_N @ b_N)))
    return float(a_N @ b_N) / scale if scale > 1e-9 else math.nan


def over_strata(rows: Sequence[Row], statistic: Statistic) -> float:
    """Return the mean of a statistic over the strata: each data set with its seed, and step."""
    strata: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        strata.setdefault((row["data"], row["step"]), []).append(row)
    found = [statistic(part) for part in strata.values() if len(part) >= MIN_ENCODERS]
    finite = [number for number in found if math.isfinite(number)]
    return float(np.mean(finite)) if finite else math.nan


def interval(rows: Sequence[Row], statistic: Statistic) -> str:
    """Return "value [low, high]"; the bootstrap draws weightings."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["weighting"], []).append(row)
    names, rng = sorted(groups), np.random.default_rng(0)
    found = []
    for _ in range(NUM_BOOTSTRAPS):
        drawn = [row for i in rng.integers(len(names), size=len(names)) for row in groups[names[i]]]
        found.append(over_strata(drawn, statistic))
    finite = [number for number in found if math.isfinite(number)]
    own = over_strata(rows, statistic)
    if not finite or not math.isfinite(own):
        return "-"
    low, high = np.percentile(finite, [2.5, 97.5])
    return f"{own:+.2f} [{low:+.2f}, {high:+.2f}]"


def spearman_of(score: str, target: str) -> Statistic:
    """Return the statistic: Spearman's correlation of a score with an accuracy."""
    return lambda rows: correlation(ranks(rows, score), ranks(rows, target))


def gain_over_default(score: str, target: str) -> Statistic:
    """Return by how much a score's correlation exceeds that of the default fitness."""
    own, default = spearman_of(score, target), spearman_of("minus_fitness", target)
    return lambda rows: own(rows) - default(rows)


def within_families(score: str, target: str) -> Statistic:
    """Return the correlation of ranks after subtracting each family's mean rank."""

    def statistic(rows: Sequence[Row]) -> float:
        family_N = np.array([family_of(row) for row in rows])
        both = [ranks(rows, score), ranks(rows, target)]
        for name in np.unique(family_N):
            for rank_N in both:
                rank_N[family_N == name] -= rank_N[family_N == name].mean()
        return correlation(*both)

    return statistic


def partial_of(score: str, target: str) -> Statistic:
    """Return the partial correlation given the share of contrastive weights."""

    def statistic(rows: Sequence[Row]) -> float:
        share_N: Floats = rankdata([contrastive_share(row) for row in rows])
        share_N -= share_N.mean()
        if float(share_N @ share_N) < 1e-9:
            return math.nan
        left = []
        for name in (score, target):
            rank_N = ranks(rows, name)
            left.append(rank_N - share_N * (rank_N @ share_N) / (share_N @ share_N))
        return correlation(*left)

    return statistic


def bias_of(score: str, target: str, family: str) -> Statistic:
    """Return how much better the score ranks a family than the accuracy does, as a share of N."""

    def statistic(rows: Sequence[Row]) -> float:
        is_member_N = np.array([family_of(row) == family for row in rows])
        if not is_member_N.any():
            return math.nan
        difference_N = ranks(rows, score) - ranks(rows, target)
        return float(difference_N[is_member_N].mean()) / len(rows)

    return statistic


def add_clid(rows: Sequence[Row]) -> None:
    """Add CLID: CL and ID, each scaled to [0, 1] over the encoders of a stratum, and summed."""
    strata: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if "cluster_learnability" in row:
            strata.setdefault((row["data"], row["step"]), []).append(row)
    for part in strata.values():
        scaled = []
        for name in ("cluster_learnability", "intrinsic_dimension"):
            found = np.array([row[name] for row in part])
            scaled.append((found - found.min()) / max(float(np.ptp(found)), 1e-12))
        for row, one, two in zip(part, *scaled, strict=True):
            row["clid"] = float(one + two)


def is_trained(row: Row) -> bool:
    """Say whether a row is a trained encoder."""
    return not row["weighting"].startswith("random_init")


def main() -> None:
    """Score what is new, and print the tables."""
    from fitness_study_tables import all_tables

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()
    if options.folder is not None:
        rows = collect_rows(options.folder, lambda line: print(line, file=sys.stderr, flush=True))
        if options.rows is not None:
            write_rows(options.rows, rows)
    elif options.rows is not None:
        rows = read_rows(options.rows)
    else:
        parser.error("name the study's folder, or --rows with a file")
    add_clid(rows)
    for table in all_tables(rows):
        print(table, end="\n\n")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, with 5 significant digits."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in UNSTORED))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for row in rows:
            table.writerow([_cell(row.get(name)) for name in names])


def _cell(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, dict):
        return json.dumps({name: round(weight, 4) for name, weight in found.items()})
    return f"{found:.5g}" if isinstance(found, float) else str(found)


def read_rows(path: Path) -> list[Row]:
    """Return the rows that `write_rows` wrote."""
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            row: Row = {}
            for name, text in cells.items():
                if name in ("data", "weighting", "reason"):
                    row[name] = text
                elif name == "weights":
                    row[name] = json.loads(text)
                elif text:
                    row[name] = int(text) if name == "step" else float(text)
            rows.append(row)
    return rows


if __name__ == "__main__":
    main()
