"""Scores and accuracies of every encoder that fitness_study.py has stored.

Each encoder (data set, seed, weighting, step) gives one flat row of numbers, which is written
beside its features, so that a later call only scores new ones.

Shapes: N clip, V video, K clip of a video, L labelled clip, D feature.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitness_candidates as candidates
import numpy as np
import torch
from fitness_study_views import LIDAR_VIEWS
from safetensors.torch import load_file
from torch import Tensor

from evossl.config import Fitness
from evossl.evaluation.features import CLIPS_PER_VIDEO
from evossl.evaluation.fold_data import LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, evaluate_folds, summarise
from evossl.evaluation.labels import labelled_videos
from evossl.evaluation.splits import make_folds
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score

Row = dict[str, Any]
NUM_FOLDS = 3
METRIC = "balanced_accuracy"
PROTOCOLS = ("knn", "linear")
VIEW_PAIRS = {
    "ami_disjoint": ("early_strong", "late_strong"),
    "ami_other_time": ("early_weak", "late_weak"),
    "ami_weak_time": ("weak_time1", "weak_time2"),
    "ami_family": ("family1", "family2"),
    "ami_colour_family": ("colour_family1", "colour_family2"),
}
"""AMI of pairs of views beyond the fitness's own."""
FIXED_STREAMS = ("log_mel", "flow", "motion_energy")
TRAINED_STREAMS = ("flow", "audio")


@dataclass(frozen=True)
class Encoder:
    """One stored encoder: `folder` is its job's, `file` holds its features."""

    data: str
    weighting: str
    step: int
    file: Path

    @property
    def scores(self) -> Path:
        """The file of its row."""
        return self.file.with_suffix(".json")


def encoders(out: Path, *, is_done: bool = True) -> Iterator[Encoder]:
    """Yield the encoders of finished jobs, or of all jobs."""
    for folder in sorted(path.parent for path in out.glob("*/*/*.safetensors")):
        if not (folder / "done.json").is_file() and is_done:
            continue
        for file in sorted(folder.glob("*.safetensors")):
            yield Encoder(folder.parent.name, folder.name, int(file.stem), file)


def all_encoders(out: Path) -> list[Encoder]:
    """Return every encoder once."""
    return list(dict.fromkeys(encoders(out)))


def row_of(encoder: Encoder) -> Row:
    """Return the stored row of an encoder; compute what it lacks."""
    folder = encoder.file.parents[1]
    x = {name: value.float() for name, value in load_file(encoder.file).items()}
    is_full = LIDAR_VIEWS[0] in x
    if encoder.scores.is_file():
        row: Row = json.loads(encoder.scores.read_text(encoding="utf-8"))
        if row["has_reference"] == has_reference(folder):
            return row
    else:
        done = json.loads((encoder.file.parent / "done.json").read_text(encoding="utf-8"))
        row = {
            "data": encoder.data,
            "weighting": encoder.weighting,
            "step": encoder.step,
            "weights": done.get("weights", {}),
        }
        row |= default_scores(x) | accuracies(x, folder, PROTOCOLS if is_full else PROTOCOLS[:1])
        row |= view_scores(x) if is_full else {}
    row["has_reference"] = has_reference(folder)
    if is_full:
        row |= stream_scores(x, other_streams(folder))
    encoder.scores.write_text(json.dumps(row), encoding="utf-8")
    return row


def default_scores(x: Mapping[str, Tensor]) -> Row:
    """Return the default fitness, its indicators, and the AMI that chance gives."""
    sets = (x["clean"], x["first"], x["second"])
    settings = Fitness(clips=len(x["clean"]))
    scored = score(ScoringFeatures(*sets, x["shuffled"]), settings, seed=0)
    row: Row = {"fitness": scored.fitness, "reason": scored.reason, **scored.indicators}
    if scored.reason is None or torch.isfinite(torch.cat(sets)).all():
        row["ami_views"] = candidates.agreement(*sets, 0)
        mean, sd = candidates.permuted_agreement(*sets, 0)
        row |= {"ami_permuted_mean": mean, "ami_permuted_sd": sd}
    return row


def view_scores(x: Mapping[str, Tensor]) -> Row:
    """Return the scores of other views, and those that need no second view."""
    clean_ND = x["clean"]
    views = [x[name] for pair in VIEW_PAIRS.values() for name in pair]
    if not torch.isfinite(torch.cat([clean_ND, *views])).all():
        return {}
    row: Row = {
        name: candidates.agreement(clean_ND, x[one], x[two], 0)
        for name, (one, two) in VIEW_PAIRS.items()
    }
    num_lidar = len(x[LIDAR_VIEWS[0]])
    many = [x[name][:num_lidar] for name in ("first", "second", *LIDAR_VIEWS)]
    own = candidates.gaussian_agreement(clean_ND, x["first"], x["second"], 0)
    one, two = VIEW_PAIRS["ami_disjoint"]
    return row | {
        "ami_gaussian": own,
        "ami_whitened": candidates.whitened_agreement(clean_ND, x["first"], x["second"], 0),
        "ami_disjoint_gaussian": candidates.gaussian_agreement(clean_ND, x[one], x[two], 0),
        "lidar8": candidates.lidar_of_views(torch.stack(many, dim=1)),
        "lidar2_same_clips": candidates.lidar_of_views(torch.stack(many[:2], dim=1)),
        "cluster_learnability": candidates.cluster_learnability(clean_ND, 0),
        "intrinsic_dimension": candidates.two_nn_dimension(clean_ND),
        "nesum": candidates.nesum(clean_ND),
    }


def has_reference(folder: Path) -> bool:
    """Say whether a data set has its training with equal weights."""
    return (folder / "equal" / "done.json").is_file()


def other_streams(folder: Path) -> dict[str, Tensor]:
    """Return features of other streams of the held-out clips of a data set.

    They are fixed ones, and those of the flow and sound encoders of the training with equal
    weights, which are the same for all encoders that are compared.
    """
    fixed = load_file(folder / "fixed.safetensors")
    found = {f"fixed_{name}": fixed[name] for name in FIXED_STREAMS if name in fixed}
    steps = sorted(int(file.stem) for file in (folder / "equal").glob("*.safetensors"))
    if has_reference(folder) and steps:
        trained = load_file(folder / "equal" / f"{steps[-1]}.safetensors")
        for name in TRAINED_STREAMS:
            if name in trained:
                found[f"reference_{name}"] = trained[name].float()
    return found


def stream_scores(x: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Row:
    """Return the agreement of RGB with other streams, in both forms."""
    if not torch.isfinite(x["clean"]).all():
        return {}
    row: Row = {}
    for name, other_NE in others.items():
        row[f"cross_{name}"] = candidates.cluster_cross_agreement(x["clean"], other_NE, 0)
        row[f"predict_{name}"] = candidates.predicted_cross_agreement(x["clean"], other_NE, 0)
    return row


def accuracies(x: Mapping[str, Tensor], folder: Path, protocols: Sequence[str]) -> Row:
    """Return the balanced accuracy of each protocol for each label, and their mean."""
    known = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    clips_LD = x["labelled"]
    video_VKD = clips_LD.view(-1, CLIPS_PER_VIDEO, clips_LD.shape[1])
    video_VD = video_VKD.mean(dim=1).numpy()
    row: Row = {}
    if not np.isfinite(video_VD).all():
        return row
    for label, names in known["labelled"].items():
        if len({name for name in names if name}) < 2:
            continue
        data = labelled_videos(names, known["groups"])
        folds = make_folds(data.labels, data.groups, NUM_FOLDS, seed=0)
        features = LabelledFeatures(video_VD[list(data.videos)], data.class_N, data.group_N)
        for protocol in protocols:
            metrics = evaluate_folds(FROZEN_PROTOCOLS[protocol], features, folds, 0)
            found = summarise(metrics, folds, data.group_N, 0)
            row[f"{label}_{protocol}"] = found[METRIC]
        row[label] = float(np.mean([row[f"{label}_{protocol}"] for protocol in protocols]))
    return row


def derived(row: Row) -> Row:
    """Return the row with the scores that are arithmetic on others; a rejected encoder is worst."""
    found = dict(row)
    fitness = row.get("fitness")
    found["minus_fitness"] = -math.inf if fitness is None else -fitness
    if "predict_fixed_flow" in row:
        found["ami_and_flow"] = (row["ami_views"] + row["predict_fixed_flow"]) / 2
    for name, own, twin in (
        ("beyond", "ami_views", "ami_gaussian"),
        ("disjoint_beyond", "ami_disjoint", "ami_disjoint_gaussian"),
    ):
        if own in row and twin in row:
            found[f"{name}_gaussian"] = row[own] - row[twin]
            found[f"{name}_gaussian_ratio"] = row[own] / max(row[twin], 1e-3)
    return found


def collect_rows(out: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the rows of all encoders of finished jobs."""
    rows = []
    for encoder in all_encoders(out):
        is_new = not encoder.scores.is_file()
        rows.append(derived(row_of(encoder)))
        if is_new:
            report(f"scored {encoder.data} {encoder.weighting} {encoder.step}")
    return rows
