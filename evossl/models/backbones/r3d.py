"""R3D: a ResNet whose convolutions are all 3 x 3 x 3.

Tran, Wang, Torresani, Ray, LeCun, Paluri, A Closer Look at Spatiotemporal Convolutions for Action
Recognition, CVPR 2018; depth 50: Hara, Kataoka, Satoh, Can Spatiotemporal 3D CNNs Retrace the
History of 2D CNNs and ImageNet?, CVPR 2018.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck, Conv3DSimple

from evossl.config import Backbone
from evossl.models.backbones.stages import Stages, initialise, residual_stages

BLOCKS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return torchvision's network: D = 8 x width (depth 50: 32 x), space / 16, time / 8."""
    width = backbone.width
    stem = nn.Sequential(
        nn.Conv3d(channels, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
    block, counts = BLOCKS[backbone.depth]
    network = Stages(stem, residual_stages(block, Conv3DSimple, width, (1, 2, 2, 2), counts))
    initialise(network)
    return network
