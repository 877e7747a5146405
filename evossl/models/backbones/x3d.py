"""X3D: a narrow and deep network of depthwise convolutions, grown one axis at a time.

Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020; the blocks
of X3D-S and X3D-M, which are this network at width 24.
"""

from itertools import pairwise

from torch import nn

from evossl.config import Backbone
from evossl.models.backbones.pytorchvideo import (
    create_x3d_res_stage,
    create_x3d_stem,
    with_int_strides,
)
from evossl.models.backbones.stages import Stages, initialise

WIDTHS = (1, 1, 2, 4, 8)  # channels of the stem and the stages, in `backbone.width`
BLOCKS = (3, 5, 11, 7)
EXPANSION = 2.25  # channels inside a block, in those of its output


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network without its head: D = 8 x width, space / 32, time as it is."""
    widths = [backbone.width * factor for factor in WIDTHS]
    stages = [
        create_x3d_res_stage(
            depth=depth,
            dim_in=dim_in,
            dim_inner=int(EXPANSION * dim_out),
            dim_out=dim_out,
            inner_act=nn.SiLU,  # Swish; pytorchvideo's own is no operation that ONNX knows
        )
        for depth, (dim_in, dim_out) in zip(BLOCKS, pairwise(widths), strict=True)
    ]
    stem = create_x3d_stem(in_channels=channels, out_channels=backbone.width)
    network = with_int_strides(Stages(stem, stages))
    initialise(network)
    return network
