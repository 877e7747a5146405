"""Preprocessing of features before they are clustered or classified.

Shapes: N clip, D feature.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Preprocess = Literal["standard", "raw", "l2"]

MIN_RELATIVE_SD = 1e-6  # of |mean|; below it a float32 feature varies by rounding alone
MAX_STANDARDISED = 1e6  # values are clipped to this, so that their squares stay finite in float32


@dataclass(frozen=True)
class Standardiser:
    """Maps features to (x - mean) / sd, each on its own; a constant feature becomes 0.

    It is fitted once, on the clean clips (or a training set), and applied to every view: if a view
    moves the features it must land in another place, or agreement between views would say nothing.
    """

    mean_D: Tensor
    sd_D: Tensor

    @classmethod
    def fit(cls, x_ND: Tensor) -> "Standardiser":
        """Return the standardiser of `x_ND`'s mean and population sd, in float64."""
        var_D, mean_D = torch.var_mean(x_ND.double(), dim=0, correction=0)
        sd_D = var_D.sqrt()
        is_constant_D = sd_D <= MIN_RELATIVE_SD * mean_D.abs()
        return cls(mean_D, torch.where(is_constant_D, torch.inf, sd_D))

    def scale(self, x_ND: Tensor) -> Tensor:
        """Return the standardised features in float64, not clipped."""
        return (x_ND.double() - self.mean_D).div_(self.sd_D)

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Return the standardised features in float32, clipped to +-1e6."""
        return self.scale(x_ND).clamp_(-MAX_STANDARDISED, MAX_STANDARDISED).float()


def preprocess(kind: Preprocess, clean_ND: Tensor, others_ND: list[Tensor]) -> list[Tensor]:
    """Return the clean features and the others, preprocessed, with the clean mean at the origin.

    "standard" divides by the sd, "l2" normalises rows, "raw" does neither. Subtracting the mean
    changes no distance, but float32 loses small distances far from the origin.
    """
    sets = [clean_ND, *others_ND]
    if kind == "standard":
        standardise = Standardiser.fit(clean_ND)
        return [standardise(x_ND) for x_ND in sets]
    if kind == "l2":
        sets = [F.normalize(x_ND, dim=1) for x_ND in sets]
    mean_D = sets[0].mean(dim=0, dtype=torch.float64).float()
    return [x_ND - mean_D for x_ND in sets]
