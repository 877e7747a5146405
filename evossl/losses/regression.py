"""Regression of one view's embedding from another's, without negatives.

Shapes: V view, B clip, D embedding.
"""

import torch
from torch import Tensor

from evossl.losses.distance import unit
from evossl.losses.precision import full_precision


@full_precision
def negative_cosine(prediction_VBD: Tensor, target_VBD: Tensor) -> Tensor:
    """-cos(prediction of view v, target of view w), averaged over clips and ordered pairs v != w.

    In [-1, 1]; no gradient reaches the targets. Chen, He, Exploring Simple Siamese Representation
    Learning, CVPR 2021, equations 1 to 4. BYOL's loss (Grill et al., NeurIPS 2020, equation 2) is
    2 + 2 times this.

    Args:
        prediction_VBD: V >= 2; they need not be of unit length.
        target_VBD: of the same views and clips.
    """
    cosine_VWB = torch.einsum("vbd,wbd->vwb", unit(prediction_VBD), unit(target_VBD.detach()))
    other_VW = ~torch.eye(len(prediction_VBD), dtype=torch.bool, device=cosine_VWB.device)
    return -cosine_VWB[other_VW].mean()
