"""DINO's head, the running centre of the teacher's scores, and the teacher's temperature.

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

Shapes: N sample, B clip, G teacher's view, D embedding, K prototype.
"""

import torch
from torch import Tensor, nn

from evossl.models.heads.mlp import projection_head
from evossl.models.heads.prototypes import Prototypes

BOTTLENECK_DIM = 256
CENTRE_DECAY = 0.9
INITIAL_TEACHER_TEMPERATURE = 0.04


class DINOHead(nn.Module):
    """An MLP of three layers, then a weight-normalised layer of prototypes.

    The hidden layers have BatchNorm, which is an option in the paper's code. Without it, the
    outputs for the clips of a small batch hardly differ on a small network, and training stays at
    the uniform distribution.

    Args:
        width: D.
        num_prototypes: K.
    """

    def __init__(self, width: int, num_prototypes: int) -> None:
        super().__init__()
        self.prototypes = Prototypes(BOTTLENECK_DIM, num_prototypes)
        self.projector = projection_head(width, BOTTLENECK_DIM, hidden_layers=2)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return the scores (N, K)."""
        score_NK: Tensor = self.prototypes(self.projector(x_ND))
        return score_NK


class ScoreCentre(nn.Module):
    """A moving average of the mean score of each prototype; zero at first.

    Args:
        num_prototypes: K.
    """

    mean_K: Tensor

    def __init__(self, num_prototypes: int) -> None:
        super().__init__()
        self.register_buffer("mean_K", torch.zeros(num_prototypes))

    @torch.no_grad()
    def update(self, score_GBK: Tensor) -> None:
        """Move towards the mean over the views and clips of a batch."""
        self.mean_K.lerp_(score_GBK.mean(dim=(0, 1)), 1 - CENTRE_DECAY)


def teacher_temperature(progress: float, final: float, warmup: float) -> float:
    """Return the teacher's temperature: it rises linearly during the warm-up, then is `final`.

    It starts at `INITIAL_TEACHER_TEMPERATURE`, because a high temperature is unstable early in the
    training, or at `final` where that is lower.

    Args:
        progress: completed fraction of the training.
        final: temperature after the warm-up.
        warmup: fraction of the training that the warm-up takes.
    """
    done = min(1.0, progress / warmup) if warmup > 0 else 1.0
    initial = min(INITIAL_TEACHER_TEMPERATURE, final)
    return initial + done * (final - initial)
