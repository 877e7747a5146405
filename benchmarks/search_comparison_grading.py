"""Accuracies on labels for search_comparison.py: of an encoder, and of each trial of a search.

Shapes: N clip, D embedding.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search_comparison_cases import Setup

from evossl.data.index.index import build_index
from evossl.evaluation.evaluate import EvaluationSettings, evaluate
from evossl.evaluation.features import open_clips
from evossl.evaluation.fold_data import LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, evaluate_folds, summarise
from evossl.evaluation.labels import labelled_videos
from evossl.evaluation.splits import make_folds
from evossl.experiment.held_out import FEATURES_FILE, read_features
from evossl.export.encoder_folder import VideoEncoder
from evossl.search.table import read_table

PROTOCOLS = ("knn", "linear")


def grade_encoder(
    encoder: VideoEncoder, setup: Setup, protocols: tuple[str, ...] = PROTOCOLS
) -> dict[str, Any]:
    """Return an encoder's scores on the labelled videos, as `evossl evaluate` gives them."""
    index = build_index(str(setup.labelled))
    loader, report = open_clips(index.videos, encoder.config, setup.cache, seed=0)
    labels = index.labels(setup.case.label)
    label_of = dict(zip((video.path for video in index.videos), labels, strict=True))
    readable = report.readable
    data = labelled_videos([label_of[v.path] for v in readable], [v.group for v in readable])
    folds = make_folds(data.labels, data.groups, setup.case.num_folds, seed=0)
    return evaluate(encoder, loader, data, folds, EvaluationSettings(protocols))


def grade_supervised(encoder: VideoEncoder, setup: Setup) -> dict[str, Any]:
    """Return the scores of the same network trained from scratch with labels."""
    scores = grade_encoder(encoder, setup, ("finetune",))
    return scores | {"encoder": scores["random_init"]}


def grade_trials(run: Path, setup: Setup) -> list[dict[str, Any]]:
    """Return each trial's row, and its accuracies on the labels of the selection clips.

    The search never sees these labels. They tell whether a better trial was there to be chosen.
    """
    index = build_index(str(setup.videos))
    labels = index.labels(setup.case.label)
    known = zip(index.videos, labels, strict=True)
    label_of = {video.path: (label, video.group) for video, label in known}
    graded = []
    for row in read_table(run / "trials.parquet"):
        if not row.is_control:
            file = run / "trials" / str(row.trial) / FEATURES_FILE
            found = _accuracies(file, label_of, setup) if file.is_file() else {}
            graded.append(asdict(row) | {"accuracy": found})
    return graded


def _accuracies(
    file: Path, label_of: Mapping[str, tuple[str | None, str]], setup: Setup
) -> dict[str, float]:
    """Return the balanced accuracies of a trial's features of the selection clips."""
    clean_ND, paths = read_features(file)
    labels, groups = zip(*(label_of[path] for path in paths), strict=True)
    data = labelled_videos(labels, groups)
    folds = make_folds(data.labels, data.groups, setup.case.num_folds, seed=0)
    features = LabelledFeatures(clean_ND.numpy(), data.class_N, data.group_N)
    accuracies = {}
    for protocol in PROTOCOLS:
        metrics = evaluate_folds(FROZEN_PROTOCOLS[protocol], features, folds, 0)
        summary = summarise(metrics, folds, data.group_N, 0)
        value = summary["balanced_accuracy"]
        assert isinstance(value, float)
        accuracies[protocol] = value
    return accuracies
