"""R(2+1)D: space and time convolved one after the other.

Tran, Wang, Torresani, Ray, LeCun, Paluri, A Closer Look at Spatiotemporal Convolutions for Action
Recognition, CVPR 2018.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D

from evossl.config import Backbone
from evossl.models.backbones.pytorchvideo import create_r2plus1d, with_int_strides
from evossl.models.backbones.stages import Stages, initialise, residual_stages

STEM_MID = 45 / 64  # channels between the stem's two convolutions, per channel of its map


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return the network of `channels` input channels.

    Depth 50 is pytorchvideo's (bottlenecks, D = 32 x width, space / 32, time / 4), depth 18 the
    paper's (basic blocks, D = 8 x width, space / 16, time / 8).
    """
    if backbone.depth == 50:
        return _bottlenecks(channels, backbone.width)
    stages = residual_stages(BasicBlock, Conv2Plus1D, backbone.width, (1, 2, 2, 2))
    network = Stages(_stem(channels, backbone.width), stages)
    initialise(network)
    return network


def _bottlenecks(channels: int, width: int) -> Stages:
    network = create_r2plus1d(
        input_channel=channels,
        model_depth=50,
        model_num_class=1,
        stem_dim_out=width,
        head_pool_kernel_size=(1, 1, 1),
    )
    stem, *stages, _head = network.blocks
    return with_int_strides(Stages(stem, stages))


def _stem(channels: int, width: int) -> nn.Sequential:
    mid = max(1, round(width * STEM_MID))
    return nn.Sequential(
        nn.Conv3d(channels, mid, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(mid),
        nn.ReLU(inplace=True),
        nn.Conv3d(mid, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
