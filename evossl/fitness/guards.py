"""Features that must not be scored at all: checked on raw features, before standardising.

Shapes: N clip, D feature.
"""

import torch
from torch import Tensor

from evossl.fitness.clusters import spread
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.standardise import Standardiser

MIN_SPREAD = 0.1
MAX_ON_ONE_LINE = (
    0.99  # random R(2+1)D on real clips: 0.40 to 0.48; good encoders of motion: to 0.96
)
ROWS = 2048  # clips that the share of one direction is measured on


def spread_ratio(x_ND: Tensor) -> float:
    """Return mean over features of sd / mean |x|: 0 for a constant; the same at any scale."""
    x_ND = x_ND.double()
    mean_abs = float(x_ND.abs().mean())
    return float(x_ND.std(dim=0, correction=0).mean()) / mean_abs if mean_abs > 0 else 0.0


def line_share(x_ND: Tensor) -> float:
    """Return the share of variance on the first principal axis of the standardised features."""
    x_ND = x_ND[spread(len(x_ND), ROWS)]
    z_ND = Standardiser.fit(x_ND)(x_ND).double()
    gram = z_ND.T @ z_ND if z_ND.shape[1] <= len(z_ND) else z_ND @ z_ND.T
    total = float(gram.trace())
    return float(torch.linalg.matrix_norm(gram, 2)) / total if total > 0 else 1.0


def rejection_reason(features: ScoringFeatures) -> str | None:
    """Return the reason not to score these features, in words; None when they may be scored."""
    for name, x_ND in features.named():
        bad = int((~torch.isfinite(x_ND)).any(dim=1).sum())
        if bad:
            return f"features not finite: {bad} of {len(features)} rows ({name})"
    for name, x_ND in features.named()[:3]:
        ratio = spread_ratio(x_ND)
        if ratio < MIN_SPREAD:
            return (
                f"collapsed: sd / mean |feature| is {ratio:.2g} ({name}), under {MIN_SPREAD}: "
                "nearly the same features for every clip"
            )
    share = line_share(features.clean_ND)
    if features.clean_ND.shape[1] > 1 and share > MAX_ON_ONE_LINE:
        return f"collapsed to a line: {share:.1%} of the variance is one direction"
    return None
