"""A convolutional gated recurrent unit (ConvGRU).

Ballas, Yao, Pal, Courville, Delving Deeper into Convolutional Networks for Learning Video
Representations, ICLR 2016. Kernels are 1 x 1, as in dense predictive coding.

Shapes: B clip, C channel, H height, W width.
"""

import torch
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """One GRU step at each position of a map; the state has the input's shape.

    Args:
        channels: C, of the input and of the state.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.candidate = nn.Conv2d(2 * channels, channels, 1)
        for name, weight in self.named_parameters():
            nn.init.zeros_(weight) if name.endswith("bias") else nn.init.orthogonal_(weight)

    def forward(self, input_BCHW: Tensor, state_BCHW: Tensor | None = None) -> Tensor:
        """Return the next state.

        u, r = sigmoid(gates [x, h]); h' = (1 - u) h + u tanh(candidate [x, r h])

        Args:
            input_BCHW: x.
            state_BCHW: h; None stands for zeros.
        """
        h_BCHW = torch.zeros_like(input_BCHW) if state_BCHW is None else state_BCHW
        input_and_state = torch.cat([input_BCHW, h_BCHW], dim=1)
        update, reset = self.gates(input_and_state).sigmoid().chunk(2, dim=1)
        candidate = self.candidate(torch.cat([input_BCHW, reset * h_BCHW], dim=1)).tanh()
        return h_BCHW.lerp(candidate, update)
