"""95 % intervals of a metric, over folds or over the test clips of a single split.

Shapes: K fold, N clip, G group.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 1000


def interval_over_folds(values_K: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the mean over K >= 2 folds of cross-validation.

    It uses Student's t with K - 1 degrees of freedom and the corrected variance
    (1/K + 1/(K-1)) s^2; s^2 / K alone is too small because folds share most training clips.

    Nadeau, Bengio, Inference for the Generalization Error, Machine Learning 52, 2003, section 5;
    with n_test / n_train = 1 / (K - 1).
    """
    values = np.asarray(values_K, dtype=np.float64)
    num_folds = len(values)
    assert num_folds >= 2
    variance = (1 / num_folds + 1 / (num_folds - 1)) * values.var(ddof=1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, num_folds - 1) * np.sqrt(variance))
    return float(values.mean()) - half, float(values.mean()) + half


def interval_over_clips(
    metric: Callable[[NDArray[np.int64]], float], groups_N: NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """Return the percentile interval of a metric over resampled test groups of one split.

    Groups are drawn with replacement, each with all its clips, because clips of one video are not
    independent. The interval covers the choice of test clips, not that of training clips.

    Args:
        metric: rows of the test side -> value.
        groups_N: int64, group of each test clip.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    by_group_N = np.argsort(groups_N, kind="stable")
    _, first_G, size_G = np.unique(groups_N[by_group_N], return_index=True, return_counts=True)

    def resampled() -> NDArray[np.int64]:
        drawn_G = rng.integers(len(size_G), size=len(size_G))
        sizes = size_G[drawn_G]
        gap = first_G[drawn_G] - (np.cumsum(sizes) - sizes)
        return np.asarray(by_group_N[np.arange(sizes.sum()) + np.repeat(gap, sizes)])

    values = [metric(resampled()) for _ in range(NUM_RESAMPLES)]
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
