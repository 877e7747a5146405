"""Features with known clusters, for the tests of the fitness."""

from collections.abc import Callable

import torch
from torch import Tensor

from evossl.fitness.features import ScoringFeatures
from evossl.fitness.zipf import zipf_pmf

NUM_CLIPS, WIDTH, NUM_CLASSES = 512, 64, 24


def normal(seed: int, *shape: int) -> Tensor:
    """Return standard normal numbers of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def four_views(view: Callable[[int], Tensor]) -> ScoringFeatures:
    """Return the clean, first, second and shuffled features: `view(seed)` with four seeds."""
    return ScoringFeatures(*(view(100 + i) for i in range(4)))


def real(
    num_clips: int = NUM_CLIPS, view_noise: float = 0.5, separation: float = 1.0, seed: int = 0
) -> ScoringFeatures:
    """Return Zipf-sized classes that noisy views agree on."""
    generator = torch.Generator().manual_seed(seed)
    share_K = zipf_pmf(NUM_CLASSES)
    label_N = torch.multinomial(share_K, num_clips, replacement=True, generator=generator)
    centre_KD = separation * normal(seed + 1, NUM_CLASSES, WIDTH)
    clip_ND = centre_KD[label_N] + 0.5 * normal(seed + 2, num_clips, WIDTH)
    return four_views(lambda s: clip_ND + view_noise * normal(seed + s, num_clips, WIDTH))


def random_init(seed: int) -> ScoringFeatures:
    """Return a random ReLU layer over contents without classes, which the views perturb."""
    content_NC = normal(seed, NUM_CLIPS, 16)
    weight_CD = normal(seed + 1, 16, WIDTH)
    return four_views(
        lambda s: (content_NC + 0.5 * normal(seed + s, NUM_CLIPS, 16)).mm(weight_CD).relu()
    )


def exact_zipf(repeats: int = 4) -> tuple[ScoringFeatures, Tensor]:
    """Return four clusters of shares 12/25, 6/25, 4/25, 3/25 (Zipf, H_4 = 25/12), equal views."""
    label_N = torch.arange(4).repeat_interleave(torch.tensor([12, 6, 4, 3]) * repeats)
    x_ND = normal(0, 4, 6)[label_N] * 5 + 0.01 * normal(1, len(label_N), 6)
    return ScoringFeatures(x_ND, x_ND, x_ND, x_ND), label_N


def mapped(features: ScoringFeatures, change: Callable[[Tensor], Tensor]) -> ScoringFeatures:
    """Return the features with `change` applied to every set."""
    return ScoringFeatures(*(change(x_ND) for _, x_ND in features.named()))
