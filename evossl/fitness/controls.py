"""Rows of the trials table that evolution must beat, and whether a trial does.

Random inits are made by the trial layer, with the real encoder.

Shapes: N clip, D feature, K cluster; B clip, C channel, T time, H height, W width.
"""

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.errors import RunError
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.zipf import zipf_pmf

MARGIN = 3.0  # standard deviations of the random inits
MIN_RANDOM_INITS = 3


def noise_features(num_clips: int, width: int, seed: int) -> ScoringFeatures:
    """Return Gaussian noise for features, independent in every view."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, num_clips, width, generator=generator)
    return ScoringFeatures(*noise)


def zipf_blobs(
    num_clips: int, width: int, num_clusters: int, seed: int, exponent: float = 1.0
) -> ScoringFeatures:
    """Return well separated blobs of Zipf's sizes that know nothing of the clips.

    Which blob a clip falls into is drawn anew for every view: the optimum of Zipf KL alone.
    """
    generator = torch.Generator().manual_seed(seed)
    centre_KD = 3 * torch.randn(num_clusters, width, generator=generator)
    share_K = zipf_pmf(num_clusters, exponent)

    def view() -> Tensor:
        blob_N = torch.multinomial(share_K, num_clips, replacement=True, generator=generator)
        return centre_KD[blob_N] + 0.3 * torch.randn(num_clips, width, generator=generator)

    return ScoringFeatures(view(), view(), view(), view())


def colour_grid(pixels_BCTHW: Tensor) -> Tensor:
    """Return the mean colours of a 4 x 4 grid over the clip, float32 (B, 16 * C).

    What pixels alone give: to be called on each view's own pixels.
    """
    return F.adaptive_avg_pool3d(pixels_BCTHW.float(), (1, 4, 4)).flatten(1)


def sds_below(fitness: float, random_init_scores: Sequence[float]) -> float:
    """Return by how many of their standard deviations a fitness lies below the random inits' mean.

    Negative when above; infinite where the random inits are all equal.

    Raises:
        RunError: fewer than 3 random inits have a score.
    """
    if len(random_init_scores) < MIN_RANDOM_INITS:
        raise RunError(
            f"{len(random_init_scores)} random inits have a score; comparing with them needs "
            f"{MIN_RANDOM_INITS}"
        )
    gain = statistics.fmean(random_init_scores) - fitness
    sd = statistics.stdev(random_init_scores)
    if sd == 0:
        return 0.0 if gain == 0 else float("inf") if gain > 0 else float("-inf")
    return gain / sd


def beats_controls(fitness: float, random_init_scores: Sequence[float]) -> bool:
    """Say whether a fitness lies below mean - 3 sd of at least 3 random inits.

    Raises:
        RunError: fewer than 3 random inits have a score.
    """
    return sds_below(fitness, random_init_scores) > MARGIN
