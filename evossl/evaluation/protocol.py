"""What a protocol is: the two sides of a fold in, metrics as functions of test rows out.

A metric is a function of rows so that one fold's spread can be had by resampling its test clips
(`evossl.evaluation.intervals`), whatever the protocol.

Shapes: N train clip, M test clip, B test clip of a block, D feature.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evossl.evaluation.splits import Fold

BLOCK = 512

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Metric = Callable[[Ints], float]
"""Rows of the test side (repeats allowed) -> value in [0, 1]."""


@dataclass(frozen=True)
class FoldData:
    """The train and test side of one fold.

    Attributes:
        train_ND: float64. test_MD: float64. Both standardised by the train side's mean and sd.
        train_N: int64, class of each train clip. test_M: int64, class of each test clip.
        group_N: int64, group of each train clip (for splits inside the train side).
        num_classes: classes of the whole data set.
    """

    train_ND: Floats
    test_MD: Floats
    train_N: Ints
    test_M: Ints
    group_N: Ints
    num_classes: int


Protocol = Callable[[FoldData, int], Mapping[str, Metric]]
"""(sides, seed) -> metrics by name."""


def sides(x_ND: Floats, class_N: Ints, group_N: Ints, fold: Fold) -> FoldData:
    """Return a fold's sides, standardised on train only.

    Args:
        x_ND: features of all clips; finite.
        class_N: int64, class of each clip.
        group_N: int64, group of each clip.
        fold: rows of train and test.
    """
    train_ND, test_MD = standardise(x_ND[fold.train_idx], x_ND[fold.test_idx])
    return FoldData(
        train_ND,
        test_MD,
        class_N[fold.train_idx],
        class_N[fold.test_idx],
        group_N[fold.train_idx],
        int(class_N.max()) + 1,
    )


def standardise(train_ND: Floats, test_MD: Floats) -> tuple[Floats, Floats]:
    """Return both in float64, minus train's mean, over train's sd; constant features become zero.

    A feature counts as constant where its sd is rounding error of its own magnitude.
    """
    train_ND, test_MD = train_ND.astype(np.float64), test_MD.astype(np.float64)
    mean_D, sd_D = train_ND.mean(axis=0), train_ND.std(axis=0)
    varies_D = sd_D > 1e-7 * np.abs(mean_D)
    scale_D = np.where(varies_D, 1.0 / np.where(varies_D, sd_D, 1.0), 0.0)
    return (train_ND - mean_D) * scale_D, (test_MD - mean_D) * scale_D


def classification(truth_M: Ints, predicted_M: Ints) -> dict[str, Metric]:
    """Return `accuracy` (top-1) and `balanced_accuracy` (mean over classes of their recall).

    Balanced beside plain: classes of video follow Zipf's law, and always saying the largest one is
    already right often.
    """
    hit_M = (truth_M == predicted_M).astype(np.float64)

    def accuracy(rows: Ints) -> float:
        return float(hit_M[rows].mean())

    def balanced_accuracy(rows: Ints) -> float:
        total = np.bincount(truth_M[rows])
        right = np.bincount(truth_M[rows], weights=hit_M[rows])
        return float((right[total > 0] / total[total > 0]).mean())

    return {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}


def rankings(test_MD: Floats, train_ND: Floats) -> Iterator[tuple[Ints, Floats]]:
    """Yield the train clips by cosine to each test clip, for blocks of test clips in order.

    A zero vector's cosine is 0; equal ones keep train's order. In blocks, so that 20,000 clips
    need megabytes rather than gigabytes.

    Yields:
        order_BN: int64, rows of train, nearest first. cosine_BN: their cosines, in that order.
    """
    unit_MD, unit_ND = _unit(test_MD), _unit(train_ND)
    for start in range(0, len(unit_MD), BLOCK):
        cosine_BN = unit_MD[start : start + BLOCK] @ unit_ND.T
        order_BN = np.argsort(-cosine_BN, axis=1, kind="stable")
        yield order_BN, np.take_along_axis(cosine_BN, order_BN, axis=1)


def _unit(x_ND: Floats) -> Floats:
    norm_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.where(norm_N1 > 0, norm_N1, 1.0)
