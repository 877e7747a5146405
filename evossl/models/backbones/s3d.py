"""S3D: an Inception network whose convolutions are split into one over space and one over time.

Xie, Sun, Huang, Tu, Murphy, Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs
in Video Classification, ECCV 2018.
"""

from functools import partial

from torch import nn
from torchvision.models.video.s3d import SepInceptionBlock3D, TemporalSeparableConv
from torchvision.ops.misc import Conv3dNormActivation

from evossl.config import Backbone
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.stages import StagedNetwork, init_convolutions

BLOCKS = (  # blocks of stages 2, 3 and 4: channels of the four branches at width 64
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
BRANCH_OUTPUTS = (0, 2, 4, 5)  # which of these numbers are the output channels of a branch
# Kernel and stride of the pooling before stages 2, 3 and 4; the stem ends with the first one, too.
POOLS = (((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)))


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return torchvision's network, with `width` channels in the stem.

    The embedding has D = 16 x width. The last map has 1/32 of the pixels per side and 1/8 of the
    frames. `depth` is ignored.
    """
    width, norm = backbone.width, partial(nn.BatchNorm3d, eps=1e-3)
    stem = nn.Sequential(TemporalSeparableConv(channels, width, 7, 2, 3, norm), _pool(*POOLS[0]))
    first = nn.Sequential(
        Conv3dNormActivation(width, width, kernel_size=1, norm_layer=norm),
        TemporalSeparableConv(width, 3 * width, 3, 1, 1, norm),
    )
    stages, dim_in = [first], 3 * width
    for pool, blocks in zip(POOLS, BLOCKS, strict=True):
        parts: list[nn.Module] = [_pool(*pool)]
        for block in blocks:
            dims = [max(1, round(dim * width / 64)) for dim in block]
            parts.append(SepInceptionBlock3D(dim_in, *dims, norm))
            dim_in = sum(dims[i] for i in BRANCH_OUTPUTS)
        stages.append(nn.Sequential(*parts))
    network = StagedNetwork(stem, stages)
    init_convolutions(network)
    return factorise_convolutions(network)


def _pool(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.MaxPool3d:
    """Return centred max pooling.

    An even kernel also pools an incomplete window at the border, so that a map of one step keeps
    one.
    """
    is_even = kernel[-1] % 2 == 0
    padding = tuple((extent - 1) // 2 for extent in kernel)
    return nn.MaxPool3d(kernel, stride, padding, ceil_mode=is_even)
