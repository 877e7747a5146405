"""The input of a protocol: the training and test side of one fold.

Shapes: N training clip (or clip of the whole data set), M test clip, D feature.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evossl.evaluation.splits import Fold
from evossl.fitness.standardise import Standardiser

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of labelled clips.

    Attributes:
        x_ND: features of all clips.
        class_N: int64, class of each clip.
        group_N: int64, group of each clip; clips of one group must stay together.
    """

    x_ND: Floats
    class_N: Ints
    group_N: Ints


@dataclass(frozen=True)
class FoldData:
    """Both sides of one fold.

    Attributes:
        train_ND: float64, standardised by the mean and sd of the training side.
        test_MD: float64, standardised in the same way.
        train_N: int64, class of each training clip.
        test_M: int64, class of each test clip.
        group_N: int64, group of each training clip, for splits within the training side.
        num_classes: number of classes of the whole data set.
    """

    train_ND: Floats
    test_MD: Floats
    train_N: Ints
    test_M: Ints
    group_N: Ints
    num_classes: int

    @classmethod
    def from_fold(cls, features: LabelledFeatures, fold: Fold) -> "FoldData":
        """Return the two sides of a fold of finite features."""
        train_ND = torch.from_numpy(features.x_ND[fold.train_idx])
        test_MD = torch.from_numpy(features.x_ND[fold.test_idx])
        standardiser = Standardiser.fit(train_ND)
        return cls(
            train_ND=standardiser.scale(train_ND).numpy(),
            test_MD=standardiser.scale(test_MD).numpy(),
            train_N=features.class_N[fold.train_idx],
            test_M=features.class_N[fold.test_idx],
            group_N=features.group_N[fold.train_idx],
            num_classes=int(features.class_N.max()) + 1,
        )
