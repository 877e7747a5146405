"""Running class frequencies.

Shapes: Q class.
"""

import torch
from torch import Tensor, nn

EMA_DECAY = 0.99  # per step: the last few hundred steps determine the frequencies


class ClassPrior(nn.Module):
    """A moving average of how often each class occurs; uniform at first."""

    frequency_Q: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("frequency_Q", torch.full((num_classes,), 1 / num_classes))

    @torch.no_grad()
    def update(self, frequency_Q: Tensor) -> None:
        """Move towards the frequencies in one batch."""
        self.frequency_Q.lerp_(frequency_Q, 1 - EMA_DECAY)
