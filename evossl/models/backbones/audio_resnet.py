"""Audio ResNet: a small 2-D ResNet on log-mel spectrograms (B, 1, 1, F, T).

Its convolutions are 3-D convolutions of depth 1, so that its maps, memory formats and decoders are
those of the image streams. The embedding and the stages have the same numbers of channels as an
image ResNet of the same depth and width.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck, Conv3DNoTemporal

from evossl.config import Backbone
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.stages import StagedNetwork, init_convolutions, residual_stages


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return the network, with `width` channels in the stem and two blocks per stage.

    Depth 50 uses bottleneck blocks (D = 32 x width), depth 18 basic blocks (D = 8 x width).
    """
    block = Bottleneck if backbone.depth == 50 else BasicBlock
    stem = nn.Sequential(
        nn.Conv3d(channels, backbone.width, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(backbone.width),
        nn.ReLU(inplace=True),
    )
    strides = (2, 2, 2, 2)  # the first replaces the max pool of the 2-D ResNet, as in R(2+1)D
    stages = residual_stages(block, Conv3DNoTemporal, backbone.width, strides)
    network = StagedNetwork(stem, stages)
    init_convolutions(network)
    return factorise_convolutions(network)
