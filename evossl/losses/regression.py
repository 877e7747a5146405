"""Regression of one view's embedding from another's, without negatives.

Shapes: V view, B clip, D embedding.
"""

import torch
from torch import Tensor

from evossl.losses.distance import l2_normalise
from evossl.losses.precision import full_precision


@full_precision
def cross_view_negative_cosine(prediction_VBD: Tensor, target_VBD: Tensor) -> Tensor:
    """Return -cos(prediction of view v, target of view w), averaged over clips and pairs v != w.

    The value lies in [-1, 1]; no gradient reaches the targets. Chen, He, Exploring Simple Siamese
    Representation Learning, CVPR 2021, equations 1 to 4. BYOL's loss (Grill et al., NeurIPS 2020,
    equation 2) is 2 + 2 times this.

    Args:
        prediction_VBD: V >= 2; need not be normalised.
        target_VBD: targets from the same views and clips.
    """
    target_VBD = l2_normalise(target_VBD.detach())
    cosine_VWB = torch.einsum("vbd,wbd->vwb", l2_normalise(prediction_VBD), target_VBD)
    other_VW = ~torch.eye(len(prediction_VBD), dtype=torch.bool, device=cosine_VWB.device)
    return -cosine_VWB[other_VW].mean()
