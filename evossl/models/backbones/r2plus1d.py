"""R(2+1)D: a ResNet whose 3-D convolutions are split into one over space and one over time.

Tran, Wang, Torresani, Ray, LeCun, Paluri, A Closer Look at Spatiotemporal Convolutions for Action
Recognition, CVPR 2018.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D

from evossl.config import Backbone
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.pytorchvideo import adapted, create_r2plus1d
from evossl.models.backbones.stages import StagedNetwork, init_convolutions, residual_stages

STEM_MID_FACTOR = 45 / 64  # channels between the two convolutions of the stem, per output channel


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return the network, with `width` channels in the stem.

    Depth 50 is pytorchvideo's network of bottleneck blocks: D = 32 x width; the last map has 1/32
    of the pixels per side and 1/4 of the frames. Depth 18 is the paper's network of basic blocks:
    D = 8 x width, 1/16 of the pixels per side and 1/8 of the frames.
    """
    if backbone.depth == 50:
        return _build_depth_50(channels, backbone.width)
    stages = residual_stages(BasicBlock, Conv2Plus1D, backbone.width, (1, 2, 2, 2))
    network = StagedNetwork(_stem(channels, backbone.width), stages)
    init_convolutions(network)
    return factorise_convolutions(network)


def _build_depth_50(channels: int, width: int) -> StagedNetwork:
    network = create_r2plus1d(
        input_channel=channels,
        model_depth=50,
        model_num_class=1,
        stem_dim_out=width,
        head_pool_kernel_size=(1, 1, 1),
    )
    stem, *stages, _head = network.blocks
    return factorise_convolutions(adapted(StagedNetwork(stem, stages)))


def _stem(channels: int, width: int) -> nn.Sequential:
    mid = max(1, round(width * STEM_MID_FACTOR))
    return nn.Sequential(
        nn.Conv3d(channels, mid, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(mid),
        nn.ReLU(inplace=True),
        nn.Conv3d(mid, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
