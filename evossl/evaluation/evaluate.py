"""Evaluation of an encoder on labelled videos, always beside random init.

Shapes: N labelled video, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from evossl.errors import UserError, unknown
from evossl.evaluation.features import Clips, extract_features, untrained_copy
from evossl.evaluation.finetune import FROM_SCRATCH, PRETRAINED, FineTuning, finetune, predict
from evossl.evaluation.fold_data import LabelledFeatures
from evossl.evaluation.fold_metrics import (
    FROZEN_PROTOCOLS,
    FoldMetrics,
    difference,
    evaluate_folds,
    mean_over_seeds,
    summarise,
)
from evossl.evaluation.labels import LabelledVideos
from evossl.evaluation.metrics import ClassPredictions, Metrics, compute_metrics
from evossl.evaluation.splits import Fold
from evossl.export.encoder_folder import VideoEncoder
from evossl.rng import derive_seed
from evossl.types import Progress

PROTOCOLS = (*FROZEN_PROTOCOLS, "finetune")
NUM_RANDOM_INITS = 3  # averaged by the frozen protocols; fine-tuning has one per fold


def parse_protocols(text: str) -> tuple[str, ...]:
    """Return the protocols named in a comma-separated list such as "knn,linear".

    Raises:
        UserError: an unknown name, or an empty list.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not names:
        raise UserError(f"--protocols: the list is empty; choose from {', '.join(PROTOCOLS)}")
    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"--protocols: {unknown('protocol', name, PROTOCOLS)}")
    return names


@dataclass(frozen=True)
class EvaluationSettings:
    """How an encoder is evaluated.

    Attributes:
        protocols: names from `PROTOCOLS`.
        seed: of random inits, k-means and fine-tuning.
        finetuning: how the encoder is fine-tuned.
        from_scratch: how a random init is trained, for comparison with fine-tuning.
    """

    protocols: Sequence[str] = tuple(FROZEN_PROTOCOLS)
    seed: int = 0
    finetuning: FineTuning = PRETRAINED
    from_scratch: FineTuning = FROM_SCRATCH


def evaluate(
    encoder: VideoEncoder,
    loader: Clips,
    data: LabelledVideos,
    folds: Sequence[Fold],
    settings: EvaluationSettings = EvaluationSettings(),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the metrics of an encoder, of random init, and their difference, ready for JSON.

    {"encoder": {protocol: {metric: mean, metric_interval: [low, high]}}, "random_init": {...},
    "difference": {...}, "n_videos", "n_unlabelled", "classes", "n_folds", "seed"}. Intervals are
    95 %: `interval_over_folds`, or `interval_over_clips` for one split. The difference is paired,
    as both have the same folds. Random init is the mean over 3 seeds; for `finetune` it is the same
    training from one random init (supervised learning from scratch).

    Args:
        encoder: on the device to use.
        loader: of the videos.
        data: the labelled videos.
        folds: rows of `data`.
        settings: protocols, seed and training options.
        progress: called with (work done, work in total), in videos passed through a network or
            scored by a protocol.

    Raises:
        UserError: some features are not finite.
        RunError: fine-tuning diverged.
    """
    results = _Evaluation(encoder, loader, data, folds, settings).run(progress)
    summary = partial(summarise, folds=folds, group_N=data.group_N, seed=settings.seed)
    return {
        "encoder": {name: summary(pair.encoder) for name, pair in results.items()},
        "random_init": {name: summary(pair.random_init) for name, pair in results.items()},
        "difference": {
            name: summary(difference(pair.encoder, pair.random_init), lowest=-1.0)
            for name, pair in results.items()
        },
        "n_videos": len(data.videos),
        "n_unlabelled": data.num_unlabelled,
        "classes": list(data.classes),
        "n_folds": len(folds),
        "seed": settings.seed,
    }


@dataclass(frozen=True)
class _Comparison:
    """One protocol's metrics of the encoder and of random init."""

    encoder: FoldMetrics
    random_init: FoldMetrics


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation: its encoder, data and settings."""

    encoder: VideoEncoder
    loader: Clips
    data: LabelledVideos
    folds: Sequence[Fold]
    settings: EvaluationSettings

    @property
    def frozen(self) -> list[str]:
        """The protocols that need features only."""
        return [name for name in self.settings.protocols if name in FROZEN_PROTOCOLS]

    @property
    def trainings(self) -> tuple[FineTuning, ...]:
        """The trainings of each fold: of the encoder, then of a random init."""
        if "finetune" not in self.settings.protocols:
            return ()
        return self.settings.finetuning, self.settings.from_scratch

    def run(self, progress: Progress | None) -> dict[str, _Comparison]:
        """Return the results by protocol, the frozen protocols first."""
        steps = _ProgressParts(progress, self._num_videos_shown())
        results = self._evaluate_frozen(steps) if self.frozen else {}
        if self.trainings:
            results["finetune"] = self._evaluate_finetuning(steps)
        return results

    def _num_videos_shown(self) -> int:
        """Return the videos that are passed through a network or scored by a protocol."""
        num_encoders, num_passes = 1 + NUM_RANDOM_INITS, 1 + len(self.frozen)
        frozen = num_encoders * len(self.data.videos) * num_passes if self.frozen else 0
        return frozen + sum(
            how.epochs * len(fold.train_idx) for how in self.trainings for fold in self.folds
        )

    def _random_init(self, videos: Sequence[int], index: int) -> VideoEncoder:
        seed = derive_seed(self.settings.seed, "random init", index)
        return untrained_copy(self.encoder, self.loader, videos, seed=seed)

    def _evaluate_frozen(self, steps: "_ProgressParts") -> dict[str, _Comparison]:
        videos, seed = self.data.videos, self.settings.seed

        def features(encoder: VideoEncoder) -> LabelledFeatures:
            part = steps.part(len(videos))
            x_ND = extract_features(encoder, self.loader, videos, progress=part)
            return LabelledFeatures(x_ND, self.data.class_N, self.data.group_N)

        feature_sets = [features(self.encoder)]
        feature_sets += [features(self._random_init(videos, i)) for i in range(NUM_RANDOM_INITS)]
        results = {}
        for name in self.frozen:
            ours, *random_inits = (
                evaluate_folds(
                    FROZEN_PROTOCOLS[name], each, self.folds, seed, steps.part(len(videos))
                )
                for each in feature_sets
            )
            results[name] = _Comparison(ours, mean_over_seeds(random_inits))
        return results

    def _evaluate_finetuning(self, steps: "_ProgressParts") -> _Comparison:
        """Train both on the training side of each fold, and test them on the other."""
        metrics: tuple[list[Metrics], list[Metrics]] = ([], [])
        for fold in self.folds:
            train = self.data.subset(fold.train_idx)
            test = self.data.subset(fold.test_idx)
            starts = (self.encoder, self._random_init(train.videos, 0))
            for start, how, found in zip(starts, self.trainings, metrics, strict=True):
                part = steps.part(how.epochs * len(train.videos))
                model = finetune(
                    start, self.loader, train, how, seed=self.settings.seed, progress=part
                )
                predicted_M = predict(model, self.loader, test.videos)
                found.append(compute_metrics(ClassPredictions(test.class_N, predicted_M)))
        return _Comparison(*metrics)


class _ProgressParts:
    """One progress callback, shared by parts that each report their own progress."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def part(self, amount: int) -> Progress:
        """Return the callback of the next part, which is `amount` of the total."""
        before, self._done = self._done, self._done + amount

        def report(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress(before + round(amount * done / total), self._total)

        return report
