"""Preprocessing of features before they are clustered.

Shapes: N clip, D feature.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Preprocess = Literal["standard", "raw", "l2"]

CONSTANT = 1e-6  # sd / |mean| under which a float32 feature varies by rounding alone
FAR = 1e6  # sd; a view is cut there, so that its squares stay finite in float32


@dataclass(frozen=True)
class Standardiser:
    """(x - mean) / sd, feature by feature; a constant feature becomes 0.

    Fitted once, on the clean clips, and applied to every view: a view that moves features must
    land in another place, or agreement between views would say nothing.
    """

    mean_D: Tensor
    sd_D: Tensor

    @classmethod
    def fit(cls, x_ND: Tensor) -> "Standardiser":
        """Return the statistics of `x_ND`, in float64 (population sd)."""
        var_D, mean_D = torch.var_mean(x_ND.double(), dim=0, correction=0)
        sd_D = var_D.sqrt()
        is_constant_D = sd_D <= CONSTANT * mean_D.abs()
        return cls(mean_D, torch.where(is_constant_D, torch.inf, sd_D))

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Return the standardised features, float32."""
        z_ND = x_ND.double().sub_(self.mean_D).div_(self.sd_D)
        return z_ND.clamp_(-FAR, FAR).float()


def preprocess(kind: Preprocess, clean_ND: Tensor, others_ND: list[Tensor]) -> list[Tensor]:
    """Return the clean features and the others, preprocessed, with the clean mean at the origin.

    "standard" divides by the sd, "l2" normalises rows, "raw" does neither. Moving the mean changes
    no distance, but float32 loses distances far from the origin.
    """
    every = [clean_ND, *others_ND]
    if kind == "standard":
        standardise = Standardiser.fit(clean_ND)
        return [standardise(x_ND) for x_ND in every]
    if kind == "l2":
        every = [F.normalize(x_ND, dim=1) for x_ND in every]
    mean_D = every[0].mean(dim=0, dtype=torch.float64).float()
    return [x_ND - mean_D for x_ND in every]
