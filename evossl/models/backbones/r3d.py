"""R3D: a ResNet with 3 x 3 x 3 convolutions.

Tran, Wang, Torresani, Ray, LeCun, Paluri, A Closer Look at Spatiotemporal Convolutions for Action
Recognition, CVPR 2018; depth 50: Hara, Kataoka, Satoh, Can Spatiotemporal 3D CNNs Retrace the
History of 2D CNNs and ImageNet?, CVPR 2018.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck, Conv3DSimple

from evossl.config import Backbone
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.stages import StagedNetwork, init_convolutions, residual_stages

BLOCKS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}  # type, number per stage


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return torchvision's network, with `width` channels in the stem.

    The embedding has D = 8 x width at depth 18 and D = 32 x width at depth 50. The last map has
    1/16 of the pixels per side and 1/8 of the frames.
    """
    width = backbone.width
    stem = nn.Sequential(
        nn.Conv3d(channels, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
    block, counts = BLOCKS[backbone.depth]
    stages = residual_stages(block, Conv3DSimple, width, (1, 2, 2, 2), counts)
    network = StagedNetwork(stem, stages)
    init_convolutions(network)
    return factorise_convolutions(network)
