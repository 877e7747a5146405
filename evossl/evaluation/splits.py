"""Folds for evaluation: stratified by class, clips of one group never on both sides.

Shapes: N clip.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evossl.errors import UserError


@dataclass(frozen=True)
class Fold:
    """Rows of one split.

    Attributes:
        train_idx: int64, ascending.
        test_idx: int64, ascending; disjoint from `train_idx`.
    """

    train_idx: NDArray[np.int64]
    test_idx: NDArray[np.int64]


def folds(
    labels_N: Sequence[str], groups_N: Sequence[str], num_folds: int, seed: int
) -> list[Fold]:
    """Return `num_folds` folds in which each clip is tested exactly once.

    The groups of each class are dealt out, largest first, to the fold that has fewest clips of the
    class. Where each group has one class, as clips of one video have, each class therefore stands
    on both sides of each fold.

    Args:
        labels_N: class of each clip.
        groups_N: what must stay together: the video, the scene, the person.
        num_folds: at least 2.
        seed: of the order among groups of equal size.

    Raises:
        UserError: one class only, fewer than 2 folds, or a class with fewer groups than folds; it
            names the class and the remedy.
    """
    assert len(labels_N) == len(groups_N)
    _check(labels_N, groups_N, num_folds)
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    num_clips = np.zeros(num_folds)
    for sizes in _by_class(labels_N, groups_N):
        of_class = np.zeros(num_folds)
        for group in sizes.keys() & fold_of.keys():
            of_class[fold_of[group]] += sizes[group]
        fresh = rng.permutation(sorted(sizes.keys() - fold_of.keys())).tolist()
        for group in sorted(fresh, key=lambda one: -sizes[one]):
            fold_of[group] = fold = int(np.lexsort((num_clips, of_class))[0])
            of_class[fold] += sizes[group]
            num_clips[fold] += sizes[group]
    fold_N = np.array([fold_of[group] for group in groups_N])
    return [
        Fold(np.flatnonzero(fold_N != k), np.flatnonzero(fold_N == k)) for k in range(num_folds)
    ]


def _by_class(labels_N: Sequence[str], groups_N: Sequence[str]) -> list[dict[str, int]]:
    """For each class, the one of fewest groups first, its number of clips in each group."""
    sizes_of: dict[str, Counter[str]] = defaultdict(Counter)
    for label, group in zip(labels_N, groups_N, strict=True):
        sizes_of[label][group] += 1
    return [dict(sizes_of[c]) for c in sorted(sizes_of, key=lambda c: (len(sizes_of[c]), c))]


def _check(labels_N: Sequence[str], groups_N: Sequence[str], num_folds: int) -> None:
    if num_folds < 2:
        raise UserError(f"--folds {num_folds}: at least 2 are needed; --split FILE gives one split")
    require_classes(labels_N)
    clips_of = Counter(labels_N)
    groups_of = Counter(label for label, _ in set(zip(labels_N, groups_N, strict=True)))
    small = sorted((count, label) for label, count in groups_of.items() if count < num_folds)
    if not small:
        return
    named = ", ".join(
        f"class {label!r} has {clips_of[label]} clip(s) in {count} group(s)"
        for count, label in small[:5]
    )
    more = f" and {len(small) - 5} more classes too" if len(small) > 5 else ""
    fewest = small[0][0]
    remedy = (
        f"pass --folds {fewest}, or label more clips of it"
        if fewest >= 2
        else "label clips of at least 2 groups of it, or leave the class out of the labels"
    )
    raise UserError(f"--folds {num_folds}: {named}{more}, fewer than folds: {remedy}")


def require_classes(labels_N: Sequence[str]) -> None:
    """Raise a `UserError` unless there are at least two classes."""
    classes = sorted(set(labels_N))
    if len(classes) < 2:
        seen = f"all {len(labels_N)} clips are {classes[0]!r}" if classes else "no clip has a label"
        raise UserError(f"--data: {seen}: evaluation needs clips of at least 2 classes")
