"""X3D: a narrow and deep network of depthwise convolutions.

Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020: the blocks
of X3D-S and X3D-M, whose width is 24.
"""

from itertools import pairwise

from torch import nn

from evossl.config import Backbone
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.pytorchvideo import (
    adapted,
    create_x3d_res_stage,
    create_x3d_stem,
)
from evossl.models.backbones.stages import StagedNetwork, init_convolutions

WIDTH_FACTORS = (1, 1, 2, 4, 8)  # channels of the stem and the stages, as multiples of `width`
BLOCKS = (3, 5, 11, 7)  # per stage
EXPANSION = 2.25  # channels inside a block per output channel


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network without its head, with `width` channels in the stem.

    The embedding has D = 8 x width. The last map has 1/32 of the pixels per side and all frames.
    `depth` is ignored.
    """
    widths = [backbone.width * factor for factor in WIDTH_FACTORS]
    stages = [
        create_x3d_res_stage(
            depth=depth,
            dim_in=dim_in,
            dim_inner=int(EXPANSION * dim_out),
            dim_out=dim_out,
            inner_act=nn.SiLU,  # Swish; ONNX does not know pytorchvideo's own operation
        )
        for depth, (dim_in, dim_out) in zip(BLOCKS, pairwise(widths), strict=True)
    ]
    stem = create_x3d_stem(in_channels=channels, out_channels=backbone.width)
    network = adapted(StagedNetwork(stem, stages))
    init_convolutions(network)
    return factorise_convolutions(network)
