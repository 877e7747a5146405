"""Heads of methods that predict a target without negatives: BYOL, and over more clips rho-BYOL.

Shapes: V view, B clip, D embedding.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evossl.losses.regression import negative_cosine
from evossl.models.heads.mlp import mlp

PROJECTED = 256


class Bootstrap(nn.Module):
    """A projector, a predictor on it, and the projector's moving average, which gives the targets.

    Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS
    2020: 4096 hidden and 256 projected features on 2048; here in that proportion to the encoder.

    Attributes:
        target: follows `project`; the task sets it, by `Task.momentum`.

    Args:
        width: D of the embeddings.
    """

    target: nn.Module

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden, projected = 2 * width, min(PROJECTED, width)
        self.project = mlp([width, hidden, projected])
        self.predict = mlp([projected, hidden, projected])

    def loss(self, student: Iterable[Tensor], slow: Iterable[Tensor]) -> Tensor:
        """Return |prediction - target|^2 on the unit sphere, over ordered pairs of views.

        Args:
            student: embeddings (B, D) of the views.
            slow: the momentum encoder's of the same views.
        """
        prediction_VBD = torch.stack([self.predict(self.project(x_BD)) for x_BD in student])
        with torch.no_grad():
            target_VBD = torch.stack([self.target(x_BD) for x_BD in slow])
        return 2 + 2 * negative_cosine(prediction_VBD, target_VBD)
