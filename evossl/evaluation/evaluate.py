"""Evaluation of an encoder on labelled clips, always beside random init.

Shapes: N labelled video, D embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from evossl.errors import UserError, unknown
from evossl.evaluation.features import Clips, extract_features, random_init
from evossl.evaluation.finetune import FROM_SCRATCH, PRETRAINED, FineTuning, finetune, predict
from evossl.evaluation.labels import Labelled
from evossl.evaluation.protocol import Metric, classification
from evossl.evaluation.score import FROZEN, FoldMetrics, difference, judge, mean_over, summarise
from evossl.evaluation.splits import Fold
from evossl.export.encoder_folder import VideoEncoder
from evossl.rng import derive_seed

Progress = Callable[[int, int], None]

PROTOCOLS = (*FROZEN, "finetune")
NUM_RANDOM = 3  # random inits of the frozen protocols, averaged; fine-tuning has one a fold


def parse_protocols(text: str) -> tuple[str, ...]:
    """Return the protocols of "knn,linear".

    Raises:
        UserError: an unknown word (with the nearest known one), or none at all.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not names:
        raise UserError(f"--protocols: none given; there are {', '.join(PROTOCOLS)}")
    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"--protocols: {unknown('protocol', name, PROTOCOLS)}")
    return names


def evaluate(
    encoder: VideoEncoder,
    loader: Clips,
    data: Labelled,
    folds: Sequence[Fold],
    *,
    protocols: Sequence[str] = tuple(FROZEN),
    seed: int = 0,
    finetuning: FineTuning = PRETRAINED,
    from_scratch: FineTuning = FROM_SCRATCH,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the numbers of an encoder, of random init, and of their difference; JSON.

    {"encoder": {protocol: {metric: mean, metric_interval: [low, high]}}, "random_init": {...},
    "difference": {...}, "n_videos", "n_unlabelled", "classes", "n_folds", "seed"}. Intervals are
    95 %: `intervals.over_folds`, or `intervals.over_clips` for one split. The difference is paired:
    both saw the same folds. Random init is the mean over 3 seeds; for `finetune` it is the same
    training from random init (supervised learning from scratch), one seed.

    Args:
        encoder: on the device that is to be used.
        loader: of the videos.
        data: the labelled ones.
        folds: rows of `data`.
        protocols: of `PROTOCOLS`.
        seed: of random inits, k-means and fine-tuning.
        finetuning: how the encoder is fine-tuned.
        from_scratch: how random init is trained.
        progress: called with (work done, work in all), in videos shown to a network or judged.

    Raises:
        UserError: features that are not finite.
        RunError: fine-tuning diverged.
    """
    frozen = [name for name in protocols if name in FROZEN]
    tunes = "finetune" in protocols
    trainings = (finetuning, from_scratch) if tunes else ()
    work = _Work(progress, _cost(data, folds, len(frozen), trainings))
    judged: dict[str, tuple[FoldMetrics, FoldMetrics]] = {}
    if frozen:
        judged = _frozen(encoder, loader, data, folds, frozen, seed, work)
    if tunes:
        judged["finetune"] = _finetuned(
            encoder, loader, data, folds, (finetuning, from_scratch), seed, work
        )
    summary = partial(summarise, folds=folds, group_N=data.group_N, seed=seed)
    return {
        "encoder": {name: summary(ours) for name, (ours, _) in judged.items()},
        "random_init": {name: summary(theirs) for name, (_, theirs) in judged.items()},
        "difference": {
            name: summary(difference(*both), lowest=-1.0) for name, both in judged.items()
        },
        "n_videos": len(data.videos),
        "n_unlabelled": data.num_unlabelled,
        "classes": list(data.classes),
        "n_folds": len(folds),
        "seed": seed,
    }


def _frozen(
    encoder: VideoEncoder,
    loader: Clips,
    data: Labelled,
    folds: Sequence[Fold],
    protocols: Sequence[str],
    seed: int,
    work: "_Work",
) -> dict[str, tuple[FoldMetrics, FoldMetrics]]:
    """Each protocol's (encoder, mean over random inits)."""
    videos, device = data.videos, next(encoder.parameters()).device

    def part() -> Progress:
        return work.part(len(videos))

    features = [extract_features(encoder, loader, videos, progress=part())]
    for i in range(NUM_RANDOM):
        untrained = random_init(
            encoder.config, loader, videos, seed=derive_seed(seed, "random init", i), device=device
        )
        features.append(extract_features(untrained, loader, videos, progress=part()))
    judged = {}
    for name in protocols:
        ours, *theirs = (
            judge(FROZEN[name], x_ND, data.class_N, data.group_N, folds, seed % 2**32, part())
            for x_ND in features
        )
        judged[name] = ours, mean_over(theirs)
    return judged


def _finetuned(
    encoder: VideoEncoder,
    loader: Clips,
    data: Labelled,
    folds: Sequence[Fold],
    options: tuple[FineTuning, FineTuning],
    seed: int,
    work: "_Work",
) -> tuple[FoldMetrics, FoldMetrics]:
    """(Encoder, random init), each trained on the train side of each fold."""
    device = next(encoder.parameters()).device
    ours: list[Mapping[str, Metric]] = []
    theirs: list[Mapping[str, Metric]] = []
    for fold in folds:
        train, test = ([data.videos[i] for i in side] for side in (fold.train_idx, fold.test_idx))
        untrained = random_init(
            encoder.config, loader, train, seed=derive_seed(seed, "random init", 0), device=device
        )
        starts = ((encoder, options[0], ours), (untrained, options[1], theirs))
        for start, how, judged in starts:
            model = finetune(
                start,
                loader,
                train,
                data.class_N[fold.train_idx],
                data.classes,
                how,
                seed=seed,
                progress=work.part(how.epochs * len(train)),
            )
            judged.append(classification(data.class_N[fold.test_idx], predict(model, loader, test)))
    return ours, theirs


def _cost(
    data: Labelled, folds: Sequence[Fold], num_frozen: int, trainings: Sequence[FineTuning]
) -> int:
    """Videos that will be shown to a network, or judged by a protocol (for the progress bar)."""
    shown = (1 + NUM_RANDOM) * len(data.videos) * (1 + num_frozen) if num_frozen else 0
    return shown + sum(how.epochs * len(fold.train_idx) for how in trainings for fold in folds)


class _Work:
    """One progress bar over parts that each count for themselves."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = 0

    def part(self, amount: int) -> Progress:
        """Return the progress of the next part, worth `amount`."""
        before, self._before = self._before, self._before + amount

        def report(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress(before + round(amount * done / total), self._total)

        return report
