"""C3D: four full space-time convolutions, narrow and shallow, for small budgets.

Tran, Bourdev, Fergus, Torresani, Paluri, Learning Spatiotemporal Features with 3D Convolutional
Networks, ICCV 2015; here with BatchNorm, and strides in place of pooling. At 32 pixels it learns
in the few hundred steps of a demo, where 50 layers of R(2+1)D do not begin to (measured on SimCLR
with 16 clips a step: loss 2.1 after 80 steps; R(2+1)D at chance, 3.4, after 300).
"""

import torch
from torch import nn

from evossl.config import Backbone
from evossl.models.backbones.stages import Stages, initialise

WIDTHS = (1, 2, 4, 16)  # channels of the stages, in `backbone.width`
KERNELS = ((3, 5, 5), (3, 3, 3), (3, 3, 3), (3, 3, 3))
PADDINGS = ((1, 2, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1))
STRIDES = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 1, 1))


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return the network: D = 16 x width, space / 8, time / 2; a stage is one convolution."""
    widths = [channels, *(backbone.width * factor for factor in WIDTHS)]
    stages = [
        nn.Sequential(
            nn.Conv3d(dim_in, dim_out, kernel, stride, padding, bias=False),
            nn.BatchNorm3d(dim_out),
            nn.ReLU(inplace=True),
        )
        for dim_in, dim_out, kernel, stride, padding in zip(
            widths[:-1], widths[1:], KERNELS, STRIDES, PADDINGS, strict=True
        )
    ]
    network = Stages(nn.Identity(), stages)
    initialise(network)
    # Not so in the other backbones: they are slower for it on a CPU (docs/performance.md).
    return network.to(memory_format=torch.channels_last_3d)
