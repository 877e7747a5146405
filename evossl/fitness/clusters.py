"""k-means whose result does not depend on the order of clips or features.

It is our own because scikit-learn's k-means draws its initial centroids by row number, so that
shuffling the clips changes the fitness.

k-means++ (Arthur and Vassilvitskii, SODA 2007) with several restarts at once, then Lloyd's
iterations. k-means++ draws through a cumulative sum over rows that are sorted by a key of the rows
themselves (a sum over features of even powers). Permuting clips or features, or flipping the sign
of a feature, therefore permutes the result and changes nothing else, up to float rounding.

Shapes: N clip, D feature, K cluster, R restart, M sampled row.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CHEAP_SIZE = 2**17  # N * K up to which more restarts and repeated clusterings cost little
MAX_SAMPLE_ROWS = 4096  # rows on which restarts are compared
WARM_UP_ITERATIONS = 4  # Lloyd iterations before restarts are compared
MAX_ITERATIONS = 100
MAX_CHANGED_FRACTION = 1e-3  # Lloyd stops when at most this fraction of rows changes cluster


def default_num_clusters(num_clips: int) -> int:
    """Return K = min(32, N / 30), at least 2; with N / K under 30, agreement is mostly noise."""
    return max(2, min(32, num_clips // 30))


def canonical_order(x_ND: Tensor) -> Tensor:
    """Return row indices in an order that is independent of how rows and features are ordered."""
    square_ND = x_ND.double().square_()
    key_N = square_ND.sum(dim=1)
    key_N += square_ND.square_().sum(dim=1)  # distinguishes rows of equal norm
    return key_N.argsort(stable=True)


def evenly_spaced_rows(num_rows: int, limit: int) -> Tensor:
    """Return at most `limit` row indices, evenly spaced over `num_rows`."""
    if num_rows <= limit:
        return torch.arange(num_rows)
    return torch.arange(limit) * num_rows // limit


def kmeans(
    x_ND: Tensor, num_clusters: int, seed: int, *, count: int = 1, fit_rows: int | None = None
) -> list[Tensor]:
    """Return the `count` best clusterings, best first, each as centroid_KD (float32).

    10 restarts (4 if N K is over 2^17) are compared by inertia after a few iterations on at most
    4096 rows; Lloyd's iterations then continue from the best `count` on all rows.

    Args:
        x_ND: float32.
        num_clusters: K; clusters beyond the number of distinct rows stay empty.
        seed: of k-means++.
        count: number of clusterings, up to the number of restarts.
        fit_rows: fit on at most this many rows, evenly spaced in the canonical order.
    """
    x_ND = x_ND[canonical_order(x_ND)]
    if fit_rows is not None:
        x_ND = x_ND[evenly_spaced_rows(len(x_ND), fit_rows)]
    sample_MD = x_ND[evenly_spaced_rows(len(x_ND), MAX_SAMPLE_ROWS)]
    generator = torch.Generator().manual_seed(seed)
    restarts = 10 if is_cheap(len(x_ND), num_clusters) else 4
    start_RKD = _plus_plus(sample_MD, num_clusters, restarts, generator)
    warm = [_lloyd(sample_MD, centroid_KD, WARM_UP_ITERATIONS) for centroid_KD in start_RKD]
    warm.sort(key=lambda centroid_KD: inertia(sample_MD, centroid_KD))
    return [_lloyd(x_ND, centroid_KD, MAX_ITERATIONS) for centroid_KD in warm[:count]]


def is_cheap(num_clips: int, num_clusters: int) -> bool:
    """Say whether N K is so small that repeating k-means costs little."""
    return num_clips * num_clusters <= CHEAP_SIZE


def assign(x_ND: Tensor, centroid_KD: Tensor) -> Tensor:
    """Return the nearest centroid of each row: label_N, int64."""
    half_K = centroid_KD.square().sum(dim=1).mul_(0.5)
    return torch.addmm(half_K, x_ND, centroid_KD.T, alpha=-1).argmin(dim=1)


def match_clusters(cluster_N: Tensor, class_N: Tensor, num_classes: int) -> Tensor:
    """Return the class of each cluster, one to one, that most clips agree with: int64 (K,)."""
    pair_N = cluster_N * num_classes + class_N
    count_KK = torch.bincount(pair_N, minlength=num_classes**2).view(num_classes, num_classes)
    matched_K = linear_sum_assignment(count_KK.numpy(), maximize=True)[1]
    return torch.from_numpy(matched_K.astype(np.int64))


def inertia(x_ND: Tensor, centroid_KD: Tensor) -> float:
    """Return the sum over rows of the squared distance to the nearest centroid."""
    return float(squared_distances(x_ND, centroid_KD).min(dim=1).values.double().sum())


def squared_distances(x_ND: Tensor, centroid_KD: Tensor, square_N: Tensor | None = None) -> Tensor:
    """Return ||x - c||^2, (N, K), with 0 for what float32 cannot distinguish from 0.

    `square_N` is ||x||^2, if the caller has it.
    """
    if square_N is None:
        square_N = x_ND.square().sum(dim=1)
    scale_NK = square_N[:, None] + centroid_KD.square().sum(dim=1)
    distance_NK = torch.addmm(scale_NK, x_ND, centroid_KD.T, alpha=-2)
    return distance_NK.masked_fill_(distance_NK < 1e-6 * scale_NK, 0.0)


def _plus_plus(
    x_ND: Tensor, num_clusters: int, restarts: int, generator: torch.Generator
) -> Tensor:
    """Return centroid_RKD: per restart, rows drawn in proportion to their squared distance."""
    uniform_KR = torch.rand(num_clusters, restarts, generator=generator, dtype=torch.float64)
    pick_R = (uniform_KR[0] * len(x_ND)).long()
    drawn = [x_ND[pick_R]]
    square_N = x_ND.square().sum(dim=1)
    nearest_NR = squared_distances(x_ND, drawn[0], square_N)
    for uniform_R in uniform_KR[1:]:
        cumulative_RN = nearest_NR.T.double().cumsum(dim=1)
        target_R1 = uniform_R[:, None] * cumulative_RN[:, -1:]
        pick_R1 = torch.searchsorted(cumulative_RN, target_R1, right=True)
        drawn.append(x_ND[pick_R1.squeeze(1).clamp_(max=len(x_ND) - 1)])
        nearest_NR = nearest_NR.minimum(squared_distances(x_ND, drawn[-1], square_N))
    return torch.stack(drawn, dim=1)


def _lloyd(x_ND: Tensor, centroid_KD: Tensor, iterations: int) -> Tensor:
    """Return the centroids after Lloyd's iterations; an empty cluster keeps its centroid."""
    label_N = assign(x_ND, centroid_KD)
    for _ in range(iterations):
        size_K1 = torch.bincount(label_N, minlength=len(centroid_KD))[:, None]
        sum_KD = torch.zeros_like(centroid_KD).index_add_(0, label_N, x_ND)
        centroid_KD = torch.where(size_K1 > 0, sum_KD / size_K1.clamp(min=1), centroid_KD)
        before_N, label_N = label_N, assign(x_ND, centroid_KD)
        if int((label_N != before_N).sum()) <= MAX_CHANGED_FRACTION * len(x_ND):
            break
    return centroid_KD
