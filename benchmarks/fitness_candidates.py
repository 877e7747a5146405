"""Label-free scores that fitness_study_analysis.py compares with the default fitness.

All are functions of features alone, so that one that proves useful can move to `evossl.fitness`.

Shapes: N clip, D and E feature, V view, K cluster, J eigenvalue.
"""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.fitness.agreement import adjusted_mutual_information
from evossl.fitness.clusters import assign, default_num_clusters, kmeans
from evossl.fitness.indicators import LIDAR_RIDGE, effective_rank, spectrum
from evossl.fitness.standardise import Standardiser, preprocess

NUM_CLUSTERINGS = 4
NUM_TWINS = 5
NUM_WHITENED = 8
NUM_PERMUTATIONS = 50
NUM_NEIGHBOURS = 10
NUM_HALVES = 5
TWO_NN_KEPT = 0.9  # of the ratios; the largest ones are noise (Facco et al., 2017)


def clusters_of_views(clean_ND: Tensor, views: Sequence[Tensor], seed: int) -> list[list[Tensor]]:
    """Return, for each of 4 clusterings of the clean clips, label_N of each view.

    It clusters as the default fitness does: standardised features, nearest centroid of each view.
    """
    clean_ND, *others = preprocess("standard", clean_ND, list(views))
    k = default_num_clusters(len(clean_ND))
    centroids = kmeans(clean_ND, k, seed, count=NUM_CLUSTERINGS)
    return [[assign(x_ND, c_KD) for x_ND in others] for c_KD in centroids]


def agreement(clean_ND: Tensor, first_ND: Tensor, second_ND: Tensor, seed: int) -> float:
    """Return the AMI between the clusters of two views, the indicator `ami_views`."""
    labels = clusters_of_views(clean_ND, [first_ND, second_ND], seed)
    return statistics.fmean(adjusted_mutual_information(a_N, b_N) for a_N, b_N in labels)


def whitened_agreement(clean_ND: Tensor, first_ND: Tensor, second_ND: Tensor, seed: int) -> float:
    """Return the AMI of two views on the 8 main axes of the clean clips, each of variance 1.

    Clusters then do not only cut the first axis, which can hold most of the variance.
    """
    mean_D = clean_ND.mean(dim=0)
    _, _, axis_RD = torch.linalg.svd((clean_ND - mean_D).double(), full_matrices=False)
    axis_RD = axis_RD[:NUM_WHITENED].float()
    sets = [(x_ND - mean_D) @ axis_RD.T for x_ND in (clean_ND, first_ND, second_ND)]
    return agreement(sets[0], sets[1], sets[2], seed)  # which standardises each axis


def permuted_agreement(
    clean_ND: Tensor, first_ND: Tensor, second_ND: Tensor, seed: int
) -> tuple[float, float]:
    """Return mean and sd of the AMI when the clips of the second view are permuted."""
    labels = clusters_of_views(clean_ND, [first_ND, second_ND], seed)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(NUM_PERMUTATIONS):
        order_N = torch.randperm(len(clean_ND), generator=generator)
        values = [adjusted_mutual_information(a_N, b_N[order_N]) for a_N, b_N in labels]
        found.append(statistics.fmean(values))
    return statistics.fmean(found), statistics.stdev(found)


def gaussian_twin(sets: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return Gaussian features with the means and the joint sample covariance of the sets.

    Row n of every set belongs to one draw, so the twin has the same covariance between views. It
    needs no factorisation: with X centred and G standard normal (N, N), the rows of
    G X / sqrt(N - 1) have the covariance X^T X / (N - 1).
    """
    widths = [x_ND.shape[1] for x_ND in sets]
    x_NE = torch.cat([x_ND.double() for x_ND in sets], dim=1)
    mean_E = x_NE.mean(dim=0)
    num_clips = len(x_NE)
    mixing_NN = torch.randn(num_clips, num_clips, generator=generator, dtype=torch.float64)
    twin_NE = mixing_NN @ (x_NE - mean_E) / math.sqrt(num_clips - 1) + mean_E
    return [part.float() for part in torch.split(twin_NE, widths, dim=1)]


def gaussian_agreement(clean_ND: Tensor, first_ND: Tensor, second_ND: Tensor, seed: int) -> float:
    """Return the AMI of Gaussian twins of the clean clips and both views, the mean over 5.

    A continuum without clusters agrees this much: what recognising a clip alone gives.
    """
    generator = torch.Generator().manual_seed(seed)
    standardise = Standardiser.fit(clean_ND)
    sets = [standardise(x_ND) for x_ND in (clean_ND, first_ND, second_ND)]
    found = []
    for _ in range(NUM_TWINS):
        clean_twin_ND, first_twin_ND, second_twin_ND = gaussian_twin(sets, generator)
        found.append(agreement(clean_twin_ND, first_twin_ND, second_twin_ND, seed))
    return statistics.fmean(found)


def cluster_cross_agreement(x_ND: Tensor, other_NE: Tensor, seed: int) -> float:
    """Return the AMI between clusterings of two streams of the same clips, mean over 4 pairs."""
    labels = [clusters_of_views(x, [x], seed) for x in (x_ND, other_NE)]
    pairs = zip(*labels, strict=True)
    return statistics.fmean(adjusted_mutual_information(a, b) for (a,), (b,) in pairs)


def predicted_cross_agreement(x_ND: Tensor, other_NE: Tensor, seed: int) -> float:
    """Return the AMI of another stream's clusters and what x's neighbours predict of them.

    The 10 nearest clips by cosine of standardised x, without the clip itself, vote. Unlike
    `cluster_cross_agreement`, it does not depend on where k-means cuts x.
    """
    x_ND = F.normalize(Standardiser.fit(x_ND)(x_ND), dim=1)
    similarity_NN = (x_ND @ x_ND.T).fill_diagonal_(-math.inf)
    near_NM = similarity_NN.topk(min(NUM_NEIGHBOURS, len(x_ND) - 1), dim=1).indices
    found = []
    for (label_N,) in clusters_of_views(other_NE, [other_NE], seed):
        votes_NK = F.one_hot(label_N[near_NM]).sum(dim=1)
        found.append(adjusted_mutual_information(votes_NK.argmax(dim=1), label_N))
    return statistics.fmean(found)


def two_nn_dimension(x_ND: Tensor) -> float:
    """Return the intrinsic dimension from the two nearest neighbours (Facco et al., 2017).

    The slope through the origin of -ln(1 - i / N) over ln(r2 / r1), sorted, without the top tenth.
    """
    x_ND = x_ND.double()
    distance_NN = torch.cdist(x_ND, x_ND, compute_mode="donot_use_mm_for_euclid_dist")
    near_N2 = distance_NN.fill_diagonal_(math.inf).topk(2, dim=1, largest=False).values
    near_N2 = near_N2[near_N2[:, 0] > 0]
    if len(near_N2) < 2:
        return math.nan
    log_ratio_N = (near_N2[:, 1] / near_N2[:, 0]).log().sort().values
    rank_N = torch.arange(1, len(log_ratio_N) + 1).double() / len(log_ratio_N)
    kept = int(TWO_NN_KEPT * len(log_ratio_N))
    x, y = log_ratio_N[:kept], -(1 - rank_N[:kept]).log()
    return float((x * y).sum() / (x * x).sum())


def cluster_learnability(x_ND: Tensor, seed: int) -> float:
    """Return how well a nearest-neighbour classifier predicts the clusters of unseen clips.

    k-means on standardised features gives the labels; the value is the mean accuracy over 5 random
    halves. The CL of CLID: Lu et al., TMLR 2023.
    """
    x_ND = Standardiser.fit(x_ND)(x_ND)
    label_N = clusters_of_views(x_ND, [x_ND], seed)[0][0]
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(NUM_HALVES):
        fit_M, test_M = torch.randperm(len(x_ND), generator=generator).tensor_split(2)
        nearest_M = torch.cdist(x_ND[test_M], x_ND[fit_M]).argmin(dim=1)
        found.append(float((label_N[fit_M][nearest_M] == label_N[test_M]).double().mean()))
    return statistics.fmean(found)


def nesum(x_ND: Tensor) -> float:
    """Return the sum of the covariance's eigenvalues over the largest (He, Ozay, ICML 2022)."""
    value_J = spectrum(x_ND.double() - x_ND.double().mean(dim=0))
    return float(value_J.sum() / value_J[0])


def lidar_of_views(x_NVD: Tensor) -> float:
    """Return LiDAR with any number of views per clip (Thilak et al., ICLR 2024).

    With two views it equals `evossl.fitness.indicators.lidar`.
    """
    x_NVD = x_NVD.double()
    num_clips, num_views, width = x_NVD.shape
    mean_ND = x_NVD.mean(dim=1)
    within = (x_NVD - mean_ND[:, None]).flatten(0, 1)
    ridge_DD = LIDAR_RIDGE * torch.eye(width).double()
    within_DD = within.T @ within / (num_clips * num_views) + ridge_DD
    between_ND = (mean_ND - mean_ND.mean(dim=0)) / num_clips**0.5
    lower_DD, failed = torch.linalg.cholesky_ex(within_DD)
    if failed:
        return math.nan
    whitened_DN = torch.linalg.solve_triangular(lower_DD, between_ND.T, upper=False)
    return effective_rank(spectrum(whitened_DN))
