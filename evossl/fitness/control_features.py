"""Features of the controls: baselines in the trials table that the winner must beat.

Random inits are made in `evossl.experiment`, which has the real encoder.

Shapes: N clip, D feature, K cluster; B clip, C channel, T time, H height, W width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.fitness.features import ScoringFeatures
from evossl.fitness.zipf import zipf_pmf


def noise_features(num_clips: int, width: int, seed: int) -> ScoringFeatures:
    """Return Gaussian noise as features, independent in every view."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, num_clips, width, generator=generator)
    return ScoringFeatures(*noise)


def zipf_blobs(
    num_clips: int, width: int, num_clusters: int, seed: int, exponent: float = 1.0
) -> ScoringFeatures:
    """Return well-separated blobs with Zipf sizes that carry no information about the clips.

    The blob of a clip is drawn anew for every view, which is the optimum of the Zipf KL alone.
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

    Called on each view's own pixels, it shows what pixels give without an encoder.
    """
    return F.adaptive_avg_pool3d(pixels_BCTHW.float(), (1, 4, 4)).flatten(1)
