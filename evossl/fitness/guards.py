"""Guards: features that must not be scored, checked before they are standardised.

Shapes: N clip, D feature.
"""

import torch
from torch import Tensor

from evossl.fitness.clusters import evenly_spaced_rows
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.standardise import Standardiser

MIN_SPREAD_RATIO = 0.1
# Measured on real clips: 0.40 to 0.48 for random R(2+1)D, up to 0.96 for good encoders of motion.
MAX_FIRST_AXIS_FRACTION = 0.99
MAX_FIRST_AXIS_ROWS = 2048  # clips that the first axis is computed on


def spread_ratio(x_ND: Tensor) -> float:
    """Return the mean sd of the features over the mean |x|: 0 if constant, independent of scale."""
    x_ND = x_ND.double()
    mean_abs = float(x_ND.abs().mean())
    return float(x_ND.std(dim=0, correction=0).mean()) / mean_abs if mean_abs > 0 else 0.0


def first_axis_fraction(x_ND: Tensor) -> float:
    """Return the fraction of the standardised features' variance on their first principal axis."""
    x_ND = x_ND[evenly_spaced_rows(len(x_ND), MAX_FIRST_AXIS_ROWS)]
    z_ND = Standardiser.fit(x_ND)(x_ND).double()
    gram = z_ND.T @ z_ND if z_ND.shape[1] <= len(z_ND) else z_ND @ z_ND.T
    total = float(gram.trace())
    return float(torch.linalg.matrix_norm(gram, 2)) / total if total > 0 else 1.0


def rejection_reason(features: ScoringFeatures) -> str | None:
    """Return why these features must not be scored, or None if they may be."""
    for name, x_ND in features.named():
        bad = int((~torch.isfinite(x_ND)).any(dim=1).sum())
        if bad:
            return f"features not finite: {bad} of {len(features)} rows ({name})"
    for name, x_ND in features.named()[:3]:
        ratio = spread_ratio(x_ND)
        if ratio < MIN_SPREAD_RATIO:
            return (
                f"collapsed: sd / mean |feature| is {ratio:.2g} ({name}), under "
                f"{MIN_SPREAD_RATIO}: the features are nearly the same for every clip"
            )
    fraction = first_axis_fraction(features.clean_ND)
    if features.clean_ND.shape[1] > 1 and fraction > MAX_FIRST_AXIS_FRACTION:
        return f"collapsed to a line: {fraction:.1%} of the variance is in one direction"
    return None
