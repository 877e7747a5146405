"""The network of the audio stream: a small 2-D ResNet on log-mel spectrograms (B, 1, 1, F, T).

Its convolutions are 3-D ones of depth 1, so that its maps, memory formats and decoders are those of
the image streams; D and the stages' widths are the image encoder's of the same depth and width.
"""

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck, Conv3DNoTemporal

from evossl.config import Backbone
from evossl.models.backbones.stages import Stages, initialise, residual_stages


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return the network: two blocks a stage, bottlenecks where the image encoder has them."""
    block = Bottleneck if backbone.depth == 50 else BasicBlock
    stem = nn.Sequential(
        nn.Conv3d(channels, backbone.width, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(backbone.width),
        nn.ReLU(inplace=True),
    )
    strides = (2, 2, 2, 2)  # in place of the 2-D ResNet's max pool, as pytorchvideo's R(2+1)D
    network = Stages(stem, residual_stages(block, Conv3DNoTemporal, backbone.width, strides))
    initialise(network)
    return network
