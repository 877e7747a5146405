"""Shares of classes, counted while training.

Shapes: Q class.
"""

import torch
from torch import Tensor, nn

KEEP = 0.99  # of the shares so far, at a step: what was seen in the last few hundred steps counts


class Shares(nn.Module):
    """A moving average of how often each of some classes is met; even at first."""

    share_Q: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("share_Q", torch.full((num_classes,), 1 / num_classes))

    @torch.no_grad()
    def update(self, share_Q: Tensor) -> None:
        """Move towards the shares of one batch."""
        self.share_Q.lerp_(share_Q, 1 - KEEP)
