"""Audit of a run: the accuracy of each trial's kept features, and how each score ranks with it."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from evossl.errors import UserError
from evossl.evaluation.audit import Agreement, audit
from evossl.evaluation.labels import labelled
from evossl.evaluation.score import FROZEN, judge, summarise
from evossl.evaluation.splits import folds
from evossl.search.table import TrialRow, read_table
from evossl.training.features import FEATURES, read_features

PROTOCOLS = ("knn", "linear")
MIN_TRIALS = 3


def audit_run(
    run: Path,
    labels: Mapping[str, str | None],
    groups: Mapping[str, str],
    *,
    num_folds: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Agreement]:
    """Return each label-free score's rank correlation with accuracy over a run's trials.

    Accuracy is the mean of kNN and linear probe on the trials' held-out clips that have a label.

    Args:
        run: folder of the run.
        labels: by path of the video.
        groups: by path: what must not stand on both sides of a fold.
        num_folds: of the cross-validation.
        seed: of the folds.
        progress: called with (trials done, trials in all).

    Raises:
        UserError: as `complete_trials`; no label for the run's held-out videos.
    """
    rows = complete_trials(run)
    accuracy = {}
    for done, row in enumerate(rows, 1):
        file = run / "trials" / str(row.trial) / FEATURES
        if file.is_file():
            accuracy[row.trial] = _accuracy(file, labels, groups, num_folds, seed)
        if progress:
            progress(done, len(rows))
    return audit(rows, accuracy)


def complete_trials(run: Path) -> list[TrialRow]:
    """Return the trials that can be ranked.

    Raises:
        UserError: no table there or a damaged one, fewer than 3 trials.
    """
    rows = [row for row in read_table(run / "trials.parquet") if row.status == "complete"]
    if len(rows) < MIN_TRIALS:
        raise UserError(f"{run}: {len(rows)} complete trials; a rank needs at least {MIN_TRIALS}")
    return rows


def _accuracy(
    file: Path,
    labels: Mapping[str, str | None],
    groups: Mapping[str, str],
    num_folds: int,
    seed: int,
) -> float:
    clean_ND, videos = read_features(file)
    known = [row for row, video in enumerate(videos) if labels.get(video)]
    if not known:
        raise UserError(
            "--data: it labels none of the run's held-out videos; paths must be those of the run's "
            "manifest.parquet"
        )
    data = labelled([labels[videos[row]] for row in known], [groups[videos[row]] for row in known])
    parts = folds(data.labels, data.groups, num_folds, seed)
    x_ND = clean_ND[known].numpy()
    values = []
    for name in PROTOCOLS:
        judged = judge(FROZEN[name], x_ND, data.class_N, data.group_N, parts, seed)
        value = summarise(judged, parts, data.group_N, seed)["accuracy"]
        assert isinstance(value, float)
        values.append(value)
    return statistics.fmean(values)
